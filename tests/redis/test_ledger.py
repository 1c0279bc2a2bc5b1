"""The ledger in Redis: several instances, one set of limits."""

from __future__ import annotations

import asyncio

import pytest

from extproc.tenants.apart import Apart
from extproc.tenants.ledger import Bill
from extproc.tenants.rules import Rules
from tests.redis.desk import NUSD, caller, desk
from tests.redis_server import RedisServer

EVERYTHING = Rules(rpm=6000, burst=100, tpm=60_000, budget_usd=1000)


async def test_to_admit_is_one_round_trip_for_rate_and_budget_of_key_and_tenant(redis: RedisServer) -> None:
    async with desk(redis) as here:
        await here.ask(caller(EVERYTHING, EVERYTHING), 10, 0.01)
        await here.link.client.config_resetstat()
        for _ in range(20):
            verdict, _ = await here.ask(caller(EVERYTHING, EVERYTHING), 10, 0.01)
            assert verdict.refused is None and verdict.shared
        stats = await here.link.client.info("commandstats")
        sent = {name: s["calls"] for name, s in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval")}
        assert sent == {"cmdstat_evalsha": 20}
        unscripted = {"cmdstat_multi", "cmdstat_watch", "cmdstat_script|load", "cmdstat_hello", "cmdstat_get"}
        assert not unscripted & set(stats)


async def test_who_has_no_limits_costs_redis_nothing(redis: RedisServer) -> None:
    async with desk(redis) as here:
        await here.ask(caller(), 10, 1)
        assert await here.link.client.dbsize() == 0


async def test_two_instances_share_the_limits(redis: RedisServer) -> None:
    async with desk(redis) as here, desk(redis) as there:
        who = caller(Rules(rpm=1, burst=4))
        refused = [(await instance.ask(who))[0].refused for instance in (here, there) * 3]
        assert refused == [None] * 4 + ["requests"] * 2


async def test_one_instance_settles_what_another_admitted(redis: RedisServer) -> None:
    async with desk(redis) as here, desk(redis) as there:
        who = caller(Rules(budget_usd=1, tpm=600), Rules(budget_usd=1))
        _, bill = await here.ask(who, 600, usd=1)
        assert (await there.ask(who))[0].refused == "budget"
        there.ends(Bill.from_metadata(bill.to_metadata()), 100, usd=0.5)
        await there.ledger.flush()
        verdict, _ = await here.ask(who, 400)
        assert verdict.refused is None
        assert await here.ledger.spent("acme") == await here.ledger.spent("acme", "k1") == NUSD // 2
        assert await here.reserved() == 0


async def test_200_concurrent_streams_overshoot_by_no_more_than_is_reserved(redis: RedisServer) -> None:
    async with desk(redis, timeout_s=20) as here, desk(redis, timeout_s=20) as there:
        who = caller(Rules(budget_usd=1))
        answers = await asyncio.gather(*((here, there)[n % 2].ask(who, usd=0.03) for n in range(200)))
        admitted = [bill for verdict, bill in answers if verdict.refused is None]
        assert len(admitted) == 34  # 33 * 0.03 < 1 <= 34 * 0.03
        for number, bill in enumerate(admitted):
            (here, there)[number % 2].ends(bill, usd=0.03)
        await asyncio.gather(here.ledger.flush(), there.ledger.flush())
        assert NUSD <= await here.ledger.spent("acme") <= NUSD + 0.03 * NUSD
        assert await here.reserved() == 0


async def test_settling_is_written_behind_without_being_asked_to(redis: RedisServer) -> None:
    async with desk(redis) as here, desk(redis) as there:
        _, bill = await here.ask(caller(EVERYTHING), usd=1)
        here.ends(bill, usd=0.5)
        while await there.ledger.spent("acme") != NUSD // 2:
            await asyncio.sleep(0.01)


async def test_a_reservation_whose_end_nobody_tells_lapses(redis: RedisServer) -> None:
    async with desk(redis, lease_s=0.2) as here:
        who = caller(Rules(budget_usd=1))
        await here.ask(who, usd=1)
        assert (await here.ask(who))[0].refused == "budget"
        while (await here.ask(who))[0].refused:
            await asyncio.sleep(0.02)
        assert await here.reserved() == 0


async def test_one_tenant_never_takes_from_another_whatever_its_name(redis: RedisServer) -> None:
    names = ["acme", "acme}", "}acme", "{acme}", "acme}:key:k1", "acme:key", "", "a b\n", "ä"]
    async with desk(redis) as here:
        rules = Rules(rpm=1, burst=1, budget_usd=1)
        for name in names:
            verdict, bill = await here.ask(caller(rules, rules, of=name), usd=1)
            assert verdict.refused is None, name
            here.ends(bill, usd=0.5)
        await here.ledger.flush()
        assert [await here.ledger.spent(name) for name in names] == [NUSD // 2] * len(names)
        assert here.ledger.known_spent() == dict.fromkeys(names, NUSD // 2)


async def test_all_keys_expire(redis: RedisServer) -> None:
    async with desk(redis) as here:
        _, bill = await here.ask(caller(EVERYTHING, EVERYTHING), 10, usd=1)
        await here.ask(caller(EVERYTHING, EVERYTHING), 10, usd=1)
        here.ends(bill, 10, usd=1)
        await here.ledger.flush()
        await here.ledger.reset("globex")
        names = await here.link.client.keys("*")
        assert len(names) == 6
        assert all([await here.link.client.ttl(name) > 0 for name in names])


async def test_all_keys_of_a_tenant_are_in_one_slot_of_a_cluster(redis: RedisServer) -> None:
    async with desk(redis) as here:
        _, bill = await here.ask(caller(EVERYTHING, EVERYTHING, of="a{b}c"), 10, usd=1)
        here.ends(bill, 10, usd=1)
        await here.ledger.flush()
        names = await here.link.client.keys("*")
        assert {name[name.index(b"{") + 1 : name.index(b"}")] for name in names} == {b"a%7Bb%7Dc"}


async def test_a_batch_that_is_sent_again_counts_once(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(redis) as here:
        _, bill = await here.ask(caller(EVERYTHING), usd=1)
        run = here.link.run

        async def lose_the_answer(call):  # type: ignore[no-untyped-def]
            await run(call)
            raise asyncio.TimeoutError

        with monkeypatch.context() as patch:
            patch.setattr(here.link, "run", lose_the_answer)
            here.ends(bill, usd=0.5)
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await here.ledger.flush()
        await here.ledger.flush()
        assert await here.ledger.spent("acme") == NUSD // 2


async def test_a_reset_holds_whatever_other_instances_saw_before(redis: RedisServer) -> None:
    async with desk(redis) as here, desk(redis) as there:
        who = caller(Rules(budget_usd=1))
        _, bill = await here.ask(who, usd=1)
        here.ends(bill, usd=1)
        await here.ledger.flush()
        assert (await there.ask(who))[0].refused == "budget"
        await here.ledger.reset("acme")
        assert (await there.ask(who))[0].refused is None
        assert await there.ledger.spent("acme") == await here.ledger.spent("acme") == 0


async def test_rates_and_budgets_can_be_kept_apart_and_a_refusal_by_one_takes_nothing_from_the_other(
    redis: RedisServer,
) -> None:
    async with desk(redis) as here, desk(redis) as there:
        here.ledger, shared = Apart(there.ledger, here.ledger), here.ledger  # type: ignore[assignment]
        who = caller(Rules(rpm=1, burst=1, budget_usd=1))
        _, bill = await here.ask(who, usd=0.5)
        assert (await here.ask(who, usd=0.5))[0].refused == "requests"
        await shared.flush()
        assert await here.reserved() == NUSD // 2
        here.ends(bill, usd=0.25)
        await shared.flush()
        assert await here.ledger.spent("acme") == NUSD // 4

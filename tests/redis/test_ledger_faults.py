"""The ledger while Redis is slow, gone, killed and back: requests go on, limits mean something, spend is not lost."""

from __future__ import annotations

import asyncio
import logging

import pytest

from extproc.tenants.rules import Rules
from tests.redis.delay_proxy import DelayProxy
from tests.redis.desk import NUSD, Desk, caller, desk, until
from tests.redis_server import RedisServer

BUDGET = caller(Rules(budget_usd=1), Rules(budget_usd=1))
RATE = caller(Rules(rpm=1, burst=2))
EACH_USD = 0.001


class Load:
    """Requests of 0.001 USD each, of one who may spend much more, until it is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.settled = 0

    @property
    def spent_nusd(self) -> int:
        return round(self.settled * EACH_USD * NUSD)

    async def run(self, instance: Desk) -> None:
        who = caller(Rules(budget_usd=1000), Rules(budget_usd=1000))
        while not self.over.is_set():
            verdict, bill = await instance.ask(who, usd=EACH_USD)
            assert verdict.refused is None
            await asyncio.sleep(0.002)
            instance.ends(bill, usd=EACH_USD)
            self.settled += 1


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    assert not any(record.exc_info for record in caplog.records), "a traceback"
    return sum(record.levelno >= logging.WARNING for record in caplog.records)


async def spend(instance: Desk, usd: float) -> None:
    verdict, bill = await instance.ask(BUDGET, usd=usd)
    assert verdict.refused is None
    instance.ends(bill, usd=usd)


async def test_open_without_redis_each_instance_limits_by_itself() -> None:
    async with RedisServer(started=False) as server, desk(server) as here:
        assert [(await here.ask(RATE))[0].refused for _ in range(3)] == [None, None, "requests"]
        await spend(here, 1.0)
        assert (await here.ask(BUDGET))[0].refused == "budget"
        assert here.ledger.known_spent() == {"acme": NUSD}


async def test_closed_without_redis_what_is_limited_is_refused_as_unavailable() -> None:
    async with RedisServer(started=False) as server, desk(server, when_down="closed") as here:
        for who in (RATE, BUDGET):
            verdict, _ = await here.ask(who)
            assert (verdict.refused, verdict.scope) == ("unavailable", None)
            assert verdict.retry_after_s > 0
        assert (await here.ask(caller()))[0].refused is None


async def test_what_was_spent_while_redis_was_away_is_there_when_it_comes_back(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(redis) as here, desk(redis) as there:
        await spend(here, 0.25)
        await here.ledger.flush()
        redis.kill()
        for _ in range(100):
            await spend(here, 0.0025)
        assert here.ledger.known_spent() == {"acme": NUSD // 2}
        await asyncio.to_thread(redis.start)
        while await there.ledger.spent("acme") != NUSD // 2:
            await asyncio.sleep(0.01)
        assert await there.ledger.spent("acme", "k1") == NUSD // 2
        assert warnings(caplog) <= 4  # of two instances, gone and back


async def test_a_redis_that_comes_back_empty_is_told_what_was_spent_before_it_decides(redis: RedisServer) -> None:
    async with desk(redis) as here, desk(redis) as there:
        await spend(here, 0.5)
        await here.ledger.flush()
        await spend(there, 0.5)
        await there.ledger.flush()
        redis.kill()
        await asyncio.to_thread(redis.start)
        verdict, _ = await there.ask(BUDGET)
        assert (verdict.refused, verdict.shared) == ("budget", True)
        assert await here.ledger.spent("acme") == NUSD


async def test_killed_and_restarted_under_load_no_request_fails_and_no_spend_is_lost(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    load = Load()
    async with desk(redis) as here, desk(redis) as there:
        clients = [asyncio.create_task(load.run(instance)) for instance in (here, there) for _ in range(20)]
        for _ in range(3):
            so_far = load.settled
            await until(lambda so_far=so_far: load.settled > so_far + 200)
            redis.kill()
            so_far = load.settled
            await until(lambda so_far=so_far: load.settled > so_far + 200)
            await asyncio.to_thread(redis.start)
            await until(lambda: not here.link.down and not there.link.down)
        load.over.set()
        await asyncio.gather(*clients)
        for instance in (here, there):
            await instance.ledger.flush()
        truth = load.spent_nusd
        assert await here.ledger.spent("acme") == pytest.approx(truth, abs=0.05 * truth)
        assert await here.ledger.spent("acme") >= truth - 40 * EACH_USD * NUSD
        assert await here.reserved() == 0
        assert warnings(caplog) <= 2 * 2 * 3


async def test_while_redis_is_slow_requests_do_not_wait_for_it(redis: RedisServer) -> None:
    async with desk(redis, timeout_s=0.1) as here:
        await here.ask(RATE)
        redis.pause()
        await here.ask(RATE)
        refused = [(await here.ask(RATE))[0].refused for _ in range(200)]
        assert refused.count("requests") >= 198
        assert here.link.failures < 10
        redis.resume()


async def test_over_a_slow_network_limits_and_budgets_are_as_exact_as_over_a_quick_one(redis: RedisServer) -> None:
    async with DelayProxy(redis.url) as network, desk(network) as here, desk(network) as there:
        network.delay_s = 0.05
        verdicts = await asyncio.gather(*(each.ask(RATE) for each in (here, there) for _ in range(20)))
        assert [verdict.refused for verdict, _ in verdicts].count(None) == 2
        assert all(verdict.shared for verdict, _ in verdicts)
        bought = await asyncio.gather(*(each.ask(BUDGET, usd=0.1) for each in (here, there) for _ in range(20)))
        assert [verdict.refused for verdict, _ in bought].count(None) == 10


async def test_under_load_a_network_that_becomes_too_slow_fails_nothing_and_loses_no_spend(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    load = Load()
    async with DelayProxy(redis.url) as network, desk(network, timeout_s=0.5) as here, desk(redis) as auditor:
        clients = [asyncio.create_task(load.run(here)) for _ in range(20)]
        for delay_s in (0.02, 5.0):
            so_far, network.delay_s = load.settled, delay_s
            await until(lambda so_far=so_far: load.settled > so_far + 200)
        await until(lambda: here.link.down)
        network.delay_s = 0.0
        await until(lambda: not here.link.down)
        load.over.set()
        await asyncio.gather(*clients)
        truth = load.spent_nusd
        while await auditor.ledger.spent("acme") < truth:
            await asyncio.sleep(0.01)
        assert await auditor.ledger.spent("acme") <= 1.05 * truth
        assert warnings(caplog) <= 4


async def test_a_reservation_whose_answer_was_lost_is_released(redis: RedisServer) -> None:
    async with desk(redis, timeout_s=0.1) as here:
        await here.ask(caller(Rules(budget_usd=5)), usd=0.1)
        redis.pause()
        verdict, bill = await here.ask(BUDGET, usd=1)  # carried out when it goes on, and nobody is told
        assert not verdict.shared
        redis.resume()
        while await here.reserved() != NUSD // 10:
            await asyncio.sleep(0.01)
        here.ends(bill, usd=0.5)
        await here.ledger.flush()
        assert await here.ledger.spent("acme") == NUSD // 2


async def test_what_waits_for_redis_grows_with_tenants_and_not_with_requests() -> None:
    async with RedisServer(started=False) as server, desk(server) as here:
        for _ in range(2000):
            await spend_freely(here)
        pending = here.ledger._pending
        due = [scope for scopes in pending.due.values() for scope in scopes.values()]
        due += [scope for batch in pending.batches.values() for scope in batch.due.values()]
        assert len(due) <= 4
        assert sum(len(scope.released) for scope in due) < 20
        await asyncio.to_thread(server.start)
        while await here.ledger.spent("acme") != 2000 or here.ledger._pending:
            await asyncio.sleep(0.01)


async def spend_freely(instance: Desk) -> None:
    _, bill = await instance.ask(caller(Rules(budget_usd=1000)), usd=1 / NUSD)
    instance.ends(bill, usd=1 / NUSD)

"""Semantic entries that instances share through Redis, whether or not it can search vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from extproc.caching.semantic import Asked, Found
from extproc.clock import ManualClock
from extproc.redis_link import RedisLink
from tests.redis.semantic_instance import AGAIN, QUESTION, SOFT, WITHOUT, ask, chat, instance, reply, searching
from tests.redis_server import RedisServer


@pytest.fixture(params=["copied", "searched"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[RedisServer]:
    server = searching() if request.param == "searched" else RedisServer(started=False)
    server.start()
    yield server
    server.close()


async def test_what_one_instance_stored_another_finds_in_other_words(redis: RedisServer) -> None:
    async with instance(redis) as one, instance(redis) as other:
        assert not await ask(one, QUESTION)
        assert await ask(other, AGAIN)
        assert not await ask(other, "What is the capital of Peru?")
        assert not await ask(other, QUESTION, tenant="another")


async def test_what_one_instance_learned_another_knows(redis: RedisServer) -> None:
    async with instance(redis) as one, instance(redis) as other:
        await ask(one, WITHOUT)
        hits = []
        for turn in range(300):
            cache = (one, other)[turn % 2]
            found = await cache.look_up(chat(SOFT), "t")
            hits.append(isinstance(found, Found))
            if isinstance(found, Asked):
                assert found.rival is not None
                await cache.learn(found, reply())
        assert not any(hits[:8])
        assert sum(hits[-50:]) > 10
        assert one.stats.learned and other.stats.learned


async def test_an_entry_that_came_later_is_seen_by_the_copy_of_another_instance(redis: RedisServer) -> None:
    async with instance(redis) as one, instance(redis) as other:
        await ask(one, "What is the capital of Peru?")
        assert not await ask(other, "What is the capital of Chile?")
        await ask(one, WITHOUT)
        found = await other.look_up(chat(SOFT), "t")
        assert isinstance(found, Asked) and found.rival is not None


async def test_a_killed_redis_costs_hits_and_no_request_and_is_found_again(redis: RedisServer) -> None:
    clock = ManualClock()
    async with instance(redis, clock) as cache:
        await ask(cache, QUESTION)
        redis.kill()
        for _ in range(20):
            assert not await ask(cache, AGAIN)
        redis.start()
        clock.advance(10)
        assert not await ask(cache, QUESTION)  # it has forgotten
        assert await ask(cache, AGAIN)
        found = await cache.look_up(chat("What really is the capital of France?"), "t")
        assert isinstance(found, Asked)


async def test_redis_gone_at_the_start_is_a_miss() -> None:
    async with RedisServer(started=False) as redis, instance(redis) as cache:
        assert not await ask(cache, QUESTION)
        assert not await ask(cache, QUESTION)


async def test_a_flush_on_one_instance_holds_on_all(redis: RedisServer) -> None:
    async with instance(redis) as one, instance(redis) as other:
        await ask(one, QUESTION, "a")
        await ask(one, QUESTION, "b")
        await other.flush("a")
        assert not await ask(one, AGAIN, "a")
        assert await ask(one, AGAIN, "b")
        await other.flush()
        assert not await ask(one, AGAIN, "b")


async def test_entries_are_bounded_over_all_places_and_instances(redis: RedisServer) -> None:
    async with instance(redis, max_entries=3) as one, instance(redis, max_entries=3) as other:
        for number in range(6):
            await ask((one, other)[number % 2], f"What is {number}?", tenant=f"t{number % 3}")
        async with instance(redis) as third:
            held = [isinstance(await third.look_up(chat(f"What is {n}?"), f"t{n % 3}"), Found) for n in range(6)]
        assert held == [False, False, False, True, True, True]


async def test_an_expired_entry_is_gone(redis: RedisServer) -> None:
    async with instance(redis, ttl_s=0.001) as short, instance(redis) as long:
        await ask(long, "What is the capital of Peru?")  # keeps the place alive
        await ask(short, QUESTION)
        for _ in range(100):
            if not isinstance(await long.look_up(chat(QUESTION), "t"), Found):
                break
        else:
            raise AssertionError("it is still there")


async def test_garbage_in_redis_is_a_miss(redis: RedisServer) -> None:
    link = RedisLink(redis.url, ManualClock(), timeout_s=2.0)
    async with instance(redis) as cache:
        await ask(cache, WITHOUT)
        entries = await link.run(lambda client: client.keys("kvgate:semantic:*:entry:*"))
        assert entries
        for name in entries:
            for field in await link.run(lambda client, name=name: client.hkeys(name)):  # type: ignore[misc]
                if field != b"place":
                    await link.run(lambda c, name=name, field=field: c.hset(name, field, b"\xc1?"))  # type: ignore[misc]
    async with instance(redis) as cache:
        assert not await ask(cache, SOFT)
    await link.close()

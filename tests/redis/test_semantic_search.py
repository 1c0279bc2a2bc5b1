"""A Redis that searches vectors, now and then: found out, used, lost and found again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import numpy as np
import pytest
from redis.asyncio import Redis

from extproc.caching.semantic import Asked, RedisEntries, SemanticCache
from extproc.caching.semantic.entries import Entry, Place
from extproc.clock import ManualClock, MonotonicClock
from extproc.redis_link import RedisLink
from tests.redis.semantic_instance import QUESTION, SOFT, WITHOUT, ask, chat, instance, searching
from tests.redis_server import RedisServer, search_binaries

INDEX = b"kvgate:semantic:v2:index:512"
ABSENT = "Redis does not search the vectors"


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = searching()
    server.start()
    yield server
    server.close()


async def searches(redis: RedisServer, command: str = "FT.SEARCH") -> int:
    """How often Redis was asked."""
    async with Redis.from_url(redis.url) as client:
        return int((await client.info("commandstats")).get(f"cmdstat_{command}", {}).get("calls", 0))


async def finds(cache: SemanticCache) -> bool:
    """Whether the entry close to a question is found, which was stored for another."""
    found = await cache.look_up(chat(SOFT), "t")
    return isinstance(found, Asked) and found.rival is not None


async def until_searched(redis: RedisServer, cache: SemanticCache) -> None:
    """New indexes are not used before they are full. The test's own timeout ends it."""
    before = await searches(redis)
    while await searches(redis) == before:
        await cache.look_up(chat("Which pump is broken?"), "t")


def told(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.getMessage().startswith(ABSENT) for record in caplog.records)


async def test_redis_itself_finds_what_is_close(redis: RedisServer) -> None:
    async with instance(redis) as one, instance(redis) as other:
        await until_searched(redis, one)
        await ask(one, WITHOUT)
        before = await searches(redis)
        assert await finds(one) and await finds(other)
        assert await searches(redis) >= before + 1


async def test_nothing_is_copied_where_redis_searches(redis: RedisServer) -> None:
    link = RedisLink(redis.url, ManualClock(), timeout_s=2.0)
    entries, place = RedisEntries(link), Place(b"s" * 32, "t")
    await entries.put(place, Entry(b"k" * 32, "a question", np.ones(4, np.float32) / 2), b"answer", 60.0)
    before = await searches(redis)
    while await searches(redis) == before:
        await entries.answer(place, b"n" * 32)
        assert await entries.nearest(place, np.ones(4, np.float32) / 2, 8)
    assert entries.copied == 0
    await link.close()


async def test_whether_redis_can_is_not_asked_again_on_the_same_connection(redis: RedisServer) -> None:
    async with instance(redis) as cache:
        await until_searched(redis, cache)
        await cache.look_up(chat(QUESTION), "t")
        before = await searches(redis, "FT.CREATE")
        for number in range(20):
            await cache.look_up(chat(f"What is {number}?"), "t")
        assert await searches(redis, "FT.CREATE") == before


async def test_instances_that_start_at_once_make_one_index(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def start() -> None:
        async with instance(redis) as cache:
            await asyncio.gather(*(cache.look_up(chat(f"What is {number}?"), "t") for number in range(5)))

    await asyncio.gather(*(start() for _ in range(8)))
    async with Redis.from_url(redis.url) as client:
        assert await client.execute_command("FT._LIST") == [INDEX]
    assert not told(caplog)


async def test_vectors_of_another_length_have_an_index_of_their_own(redis: RedisServer) -> None:
    link = RedisLink(redis.url, ManualClock(), timeout_s=2.0)
    entries = RedisEntries(link)
    for dims in (4, 9):
        place, vector = Place(bytes([dims]) * 32, "t"), np.eye(dims, dtype=np.float32)[0]
        await entries.put(place, Entry(bytes([dims]) * 32, f"{dims}", vector), b"answer", 60.0)
        await entries.put(place, Entry(bytes([dims + 1]) * 32, "other", None), b"answer", 60.0)
        before = await searches(redis)
        while await searches(redis) == before:
            await entries.answer(place, b"n" * 32)
            assert [near.entry.question for near in await entries.nearest(place, vector, 8)] == [f"{dims}"]
    assert len(await link.client.execute_command("FT._LIST")) == 2
    await link.close()


async def test_a_redis_that_comes_back_without_the_module_is_copied_from_and_told_of_once(
    caplog: pytest.LogCaptureFixture, redis: RedisServer
) -> None:
    clock = ManualClock()
    async with instance(redis, clock) as cache:
        await until_searched(redis, cache)
        redis.kill()
        redis.search = False
        redis.start()
        await cache.look_up(chat(QUESTION), "t")
        clock.advance(10)
        await ask(cache, WITHOUT)
        for _ in range(5):
            assert await finds(cache)
    assert told(caplog) == 1
    assert not any(record.exc_info for record in caplog.records)


async def test_a_redis_that_never_had_the_module_is_nothing_to_tell_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with RedisServer() as redis, instance(redis) as cache:
        await ask(cache, WITHOUT)
        assert await finds(cache)
    assert not caplog.records


async def test_entries_from_before_the_module_came_are_searched(caplog: pytest.LogCaptureFixture) -> None:
    redis = searching(keeps=True)
    redis.search = False
    redis.start()
    clock = ManualClock()
    async with instance(redis, clock) as cache:
        await ask(cache, WITHOUT)
        assert await finds(cache)
        redis.kill()
        redis.search = True
        redis.start()
        await cache.look_up(chat(QUESTION), "t")
        clock.advance(10)
        await until_searched(redis, cache)
        before = await searches(redis)
        assert await finds(cache)
        assert await searches(redis) == before + 1
    redis.close()
    assert not told(caplog)


async def test_a_module_loaded_into_a_running_redis_is_used_from_the_next_connection_on() -> None:
    redis = searching()
    redis.search = False
    redis.start()
    async with instance(redis) as cache:
        await ask(cache, WITHOUT)
        assert await finds(cache)
        async with Redis.from_url(redis.url) as client:
            await client.execute_command("MODULE", "LOAD", str(search_binaries()[1]))
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until_searched(redis, cache)
        assert await finds(cache)
    redis.close()


async def test_an_index_that_somebody_dropped_is_made_again(redis: RedisServer) -> None:
    async with instance(redis) as cache:
        await until_searched(redis, cache)
        await ask(cache, WITHOUT)
        async with Redis.from_url(redis.url) as client:
            await client.execute_command("FT.DROPINDEX", INDEX)
        assert await finds(cache)
        await until_searched(redis, cache)
        assert await finds(cache)


@pytest.mark.parametrize("command", ["ft.create", "ft.search"])
async def test_a_redis_that_may_not_be_asked_is_copied_from_and_told_of_once(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.execute_command("ACL", "SETUSER", "default", f"-{command}")
    async with instance(redis) as cache:
        await ask(cache, WITHOUT)
        while not told(caplog):
            assert await finds(cache)
        assert await finds(cache)
    assert told(caplog) == 1


async def test_a_database_other_than_the_first_cannot_be_searched_and_is_copied_from(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.url = redis.url[:-1] + "3"
    async with instance(redis) as cache:
        await ask(cache, WITHOUT)
        assert await finds(cache) and await finds(cache)
    assert told(caplog) == 1


async def test_a_redis_killed_and_restarted_under_look_ups_is_searched_again(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    over = asyncio.Event()

    async def keep_asking(cache: SemanticCache, number: int) -> None:
        while not over.is_set():
            await ask(cache, f"What is {number} times the old pump?")
            await asyncio.sleep(0.001)

    async with instance(redis, MonotonicClock()) as cache:
        await until_searched(redis, cache)
        asking = [asyncio.create_task(keep_asking(cache, number)) for number in range(16)]
        for search in (True, False, True):
            redis.kill()
            redis.search = search
            await asyncio.to_thread(redis.start)
            while not await ask(cache, WITHOUT):
                await asyncio.sleep(0.01)
            assert await finds(cache)
        await until_searched(redis, cache)
        over.set()
        await asyncio.gather(*asking)
    assert told(caplog) == 1
    assert not any(record.exc_info for record in caplog.records)

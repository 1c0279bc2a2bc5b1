"""Copies of places in a Redis that cannot search vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from extproc.caching.semantic import RedisEntries
from extproc.caching.semantic.embedders import Vector
from extproc.caching.semantic.entries import Entry, Place
from extproc.clock import ManualClock
from extproc.redis_link import RedisLink
from tests.redis_server import RedisServer

PLACE = Place(b"s" * 32, "t")


@asynccontextmanager
async def entries_in(redis: RedisServer, max_entries: int = 2000) -> AsyncIterator[RedisEntries]:
    link = RedisLink(redis.url, ManualClock(), timeout_s=5.0)
    yield RedisEntries(link, max_entries=max_entries)
    await link.close()


async def put(entries: RedisEntries, number: int, *, vector: Vector | None = None, ttl_s: float = 60.0) -> None:
    name = number.to_bytes(32, "big")
    await entries.put(PLACE, Entry(name, f"{number}", _vector(number) if vector is None else vector), b"answer", ttl_s)


async def near(entries: RedisEntries, number: int, count: int = 8) -> set[str]:
    await entries.answer(PLACE, b"none".ljust(32))
    return {each.entry.question for each in await entries.nearest(PLACE, _vector(number), count)}


async def test_a_copy_holds_no_more_than_redis(redis: RedisServer) -> None:
    async with entries_in(redis, 5) as one, entries_in(redis, 5) as other:
        for number in range(30):
            await put(one, number)
            await near(other, number)
            assert other.copied <= 5
        assert await near(other, 0) == {"25", "26", "27", "28", "29"}


async def test_a_copy_that_missed_more_than_redis_remembers_begins_anew(redis: RedisServer) -> None:
    async with entries_in(redis, 2) as one, entries_in(redis, 2) as other:
        for number in range(2):
            await put(one, number)
        assert await near(other, 0) == {"0", "1"}
        for number in range(2, 1100):
            await put(one, number)
        assert await near(other, 0) == {"1098", "1099"}
        assert other.copied == 2


async def test_an_entry_that_expires_early_takes_no_other_with_it(redis: RedisServer) -> None:
    async with entries_in(redis) as entries:
        await put(entries, 1)
        await put(entries, 2, ttl_s=0.001)
        while await near(entries, 1) != {"1"}:
            pass
        assert await entries.answer(PLACE, (1).to_bytes(32, "big")) == b"answer"


async def test_a_place_larger_than_one_round_trip_is_copied_whole(redis: RedisServer) -> None:
    async with entries_in(redis) as one, entries_in(redis) as other:
        for number in range(1100):
            await put(one, number)
        assert await near(other, 700, count=1) == {"700"}
        assert other.copied == 1100


async def test_nothing_is_left_in_redis_when_all_has_expired(redis: RedisServer) -> None:
    async with entries_in(redis, 3) as entries:
        for number in range(6):
            await put(entries, number, ttl_s=0.05)
        link = RedisLink(redis.url, ManualClock(), timeout_s=5.0)
        while await link.run(lambda client: client.keys("*")):  # type: ignore[arg-type]
            pass
        await link.close()


def _vector(number: int) -> Vector:
    drawn = np.random.default_rng(number).standard_normal(8).astype(np.float32)
    return drawn / np.linalg.norm(drawn)

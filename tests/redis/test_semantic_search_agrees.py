"""Entries that Redis searches and entries that are copied from it are the same ones."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.policy.semantic.generate import generated
from bench.policy.semantic.pairs import understood
from extproc.caching.answer import Answer
from extproc.caching.semantic import Asked, Found, HashingEmbedder, RedisEntries, SemanticCache, SemanticSettings
from extproc.caching.semantic.bound import Observation
from extproc.caching.semantic.embedders import Vector
from extproc.caching.semantic.entries import Entry, Place
from extproc.clock import MonotonicClock
from extproc.redis_link import RedisLink
from tests.redis.semantic_instance import SOFT, WITHOUT, chat, reply, searching
from tests.redis_server import RedisServer

DIMS = 6
MAX_ENTRIES = 5
examples = itertools.count()
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 1), st.integers(0, 9), st.integers(0, 50)),
        st.tuples(st.just("put without a vector"), st.integers(0, 1), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("put for a moment"), st.integers(0, 1), st.integers(0, 9), st.integers(0, 50)),
        st.tuples(st.just("observe"), st.integers(0, 1), st.integers(0, 9), st.integers(0, 255)),
        st.tuples(st.just("flush"), st.integers(0, 1), st.just(0), st.just(0)),
    ),
    min_size=10,
    max_size=40,
)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = searching()
    server.start()
    yield server
    server.close()


class Two:
    """Redis searches for one, the other copies; both write."""

    def __init__(self, redis: RedisServer) -> None:
        self.link = RedisLink(redis.url, MonotonicClock(), timeout_s=5.0)
        self.searched = RedisEntries(self.link, max_entries=MAX_ENTRIES)
        self.copied = RedisEntries(self.link, max_entries=MAX_ENTRIES, search=False)

    async def until_searched(self, dims: int) -> None:
        """What is copied until then, is dropped."""
        place = Place(b"somewhere else".ljust(32), "nobody")
        await self.copied.put(place, Entry(b"k" * 32, "?", np.ones(dims, np.float32)), b"", 60.0)
        while not await self._look(self.searched, place, np.ones(dims, np.float32), 1) or self.searched.copied:
            await asyncio.sleep(0.002)

    async def agree(self, place: Place, vector: Vector, count: int) -> None:
        searched = await self._look(self.searched, place, vector, count)
        copied = await self._look(self.copied, place, vector, count)
        assert not self.searched.copied
        assert [key for key, *_ in searched] == [key for key, *_ in copied]
        assert [what for _, what, _ in searched] == [what for _, what, _ in copied]
        assert [near for *_, near in searched] == pytest.approx([near for *_, near in copied], abs=1e-5)

    @staticmethod
    async def _look(entries: RedisEntries, place: Place, vector: Vector, count: int) -> list[tuple]:
        await entries.answer(place, b"none".ljust(32))
        near = await entries.nearest(place, vector, count)
        return [(each.entry.key, (each.entry.question, each.entry.observations), each.similarity) for each in near]


@given(steps=steps)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_finds_the_entries_that_a_copy_finds(redis: RedisServer, steps: list[tuple[str, int, int, int]]) -> None:
    asyncio.run(_compare(redis, steps))


async def _compare(redis: RedisServer, steps: list[tuple[str, int, int, int]]) -> None:
    two, example = Two(redis), next(examples)
    await two.until_searched(DIMS)
    places = [Place(f"{example}:{number}".encode().ljust(32), f"holder {example} {number}") for number in range(2)]
    for turn, (what, where, number, seed) in enumerate(steps):
        place, key = places[where], bytes([number]) * 32
        vector = _vector(1000 * number + seed)
        writer = (two.searched, two.copied)[turn % 2]
        match what:
            case "put":
                await writer.put(place, Entry(key, f"{number}\x00\u00fc {seed}", vector), b"answer", 60.0)
            case "put without a vector":
                await writer.put(place, Entry(key, f"{number}", None), b"answer", 60.0)
            case "put for a moment":
                await writer.put(place, Entry(key, "soon gone", vector), b"answer", 0.001)
                while await writer.answer(place, key) is not None:
                    pass
            case "observe":
                await writer.observe(place, key, Observation(seed / 256, seed % 2 == 0))
            case "flush":
                await writer.flush(place.holder)
        await two.agree(places[turn // 2 % 2], vector, 1 + seed % 8)
    await two.link.close()


async def test_the_same_questions_get_the_same_answers(redis: RedisServer) -> None:
    two = Two(redis)
    for entries in (two.searched, two.copied):
        entries._max_entries = 5000
    searched, copied = (
        SemanticCache(HashingEmbedder(), entries, SemanticSettings(threshold=0.6), rng=random.Random(1))
        for entries in (two.searched, two.copied)
    )
    await two.until_searched(HashingEmbedder().dims)
    pairs = generated()
    for pair in pairs:
        asked = await searched.look_up(understood(pair.first), "t", use=False)
        assert isinstance(asked, Asked)
        await searched.store(asked, reply(json.dumps(pair.first)))
    asked = await searched.look_up(chat(WITHOUT), "t", use=False)
    assert isinstance(asked, Asked)
    await searched.store(asked, reply())
    hits = 0
    for pair in pairs:
        one, other = [await cache.look_up(understood(pair.second), "t") for cache in (searched, copied)]
        assert _outcome(one) == _outcome(other)
        hits += isinstance(one, Found)
    assert hits > 50
    for _ in range(100):
        one, other = [await cache.look_up(chat(SOFT), "t") for cache in (searched, copied)]
        assert _outcome(one) == _outcome(other)
        if isinstance(one, Asked):
            assert one.rival is not None
            await searched.learn(one, reply())
    assert searched.stats.learned == copied.stats.learned > 10
    assert searched.stats.refused == copied.stats.refused
    assert sum(searched.stats.refused.values()) > 300
    assert two.copied.copied and not two.searched.copied
    await two.link.close()


def _outcome(found: Found | Asked | None) -> tuple[Answer | None, bytes | None]:
    """What was given, or which entry was not trusted yet."""
    rival = found.rival.entry.key if isinstance(found, Asked) and found.rival else None
    return (found.answer if isinstance(found, Found) else None, rival)


def _vector(seed: int) -> Vector:
    drawn = np.random.default_rng(seed).standard_normal(DIMS).astype(np.float32)
    return drawn / np.linalg.norm(drawn)

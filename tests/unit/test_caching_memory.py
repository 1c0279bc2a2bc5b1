"""Answers kept in this process."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from extproc.api.requests import Endpoint
from extproc.caching.answer import Answer, Usage
from extproc.caching.memory import MemoryStore
from extproc.caching.store import Epoch
from extproc.clock import ManualClock

NEVER = Epoch()


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def sized(size_bytes: int) -> Answer:
    return Answer(Endpoint.COMPLETIONS, b"x" * size_bytes, 0.0, Usage(1, 1))


async def holds(store: MemoryStore, number: int, scope: str = "t") -> bool:
    return (await store.get(key(number), scope)).answer is not None


async def test_an_answer_is_found_until_its_time_is_over() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    store.put(key(1), "t", sized(10), 60, NEVER)
    clock.advance(59.9)
    assert await holds(store, 1)
    clock.advance(0.1)
    assert not await holds(store, 1)
    assert (store.stats().entries, store.stats().held_bytes) == (0, 0)


async def test_the_least_recently_used_makes_room() -> None:
    store = MemoryStore(ManualClock(), max_bytes=5000, max_answer_bytes=2000)
    for number in range(3):
        store.put(key(number), "t", sized(900), 60, NEVER)
    assert await holds(store, 0)
    store.put(key(3), "t", sized(900), 60, NEVER)
    assert [await holds(store, number) for number in range(4)] == [True, False, True, True]
    assert store.stats().evicted == 1


async def test_an_answer_that_is_too_large_is_not_stored() -> None:
    store = MemoryStore(ManualClock(), max_bytes=5000, max_answer_bytes=2000)
    store.put(key(1), "t", sized(2001), 60, NEVER)
    assert not await holds(store, 1)
    assert store.stats().dropped == 1


async def test_one_scope_is_flushed_and_the_others_stay() -> None:
    store = MemoryStore(ManualClock())
    store.put(key(1), "t", sized(10), 60, NEVER)
    store.put(key(2), "u", sized(10), 60, NEVER)
    await store.flush("t")
    assert (await holds(store, 1), await holds(store, 2, "u")) == (False, True)
    await store.flush(None)
    assert not await holds(store, 2, "u")
    assert store.stats().held_bytes == 0


async def test_what_was_under_way_during_a_flush_does_not_outlive_it() -> None:
    for flushed in ("t", None):
        store = MemoryStore(ManualClock())
        before = (await store.get(key(1), "t")).epoch
        await store.flush(flushed)
        store.put(key(1), "t", sized(10), 60, before)
        found = await store.get(key(1), "t")
        assert found.answer is None
        store.put(key(1), "t", sized(10), 60, found.epoch)
        assert await holds(store, 1)


steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 3000)),
    st.tuples(st.just("get"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("flush"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 40), st.just(0)),
)


@given(st.lists(steps, max_size=60))
async def test_what_is_held_stays_within_bounds_and_adds_up(todo: list[tuple[str, int, int]]) -> None:
    clock = ManualClock()
    store = MemoryStore(clock, max_bytes=8000, max_answer_bytes=2500)
    for what, number, size in todo:
        scope = str(number % 2)
        found = await store.get(key(number), scope)
        match what:
            case "put":
                store.put(key(number), scope, sized(size), 60, found.epoch)
            case "flush":
                await store.flush(None if number == 2 else scope)
            case "wait":
                clock.advance(number)
        held = store.stats().held_bytes
        assert held is not None and 0 <= held <= 8000
    await store.flush(None)
    assert (store.stats().entries, store.stats().held_bytes) == (0, 0)


async def test_the_bound_is_what_python_really_needs() -> None:
    store = MemoryStore(ManualClock(), max_bytes=4 << 20)
    tracemalloc.start()
    try:
        for number in range(20_000):
            store.put(
                key(number),
                "t",
                Answer(Endpoint.COMPLETIONS, b"x" * (number % 900), number + 0.5, Usage(1000, number)),
                60,
                NEVER,
            )
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = store.stats().held_bytes
    assert held is not None and 0.6 * held < used < 1.1 * held

"""The block cache keeps vLLM's promises whatever is done to it."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extproc.sim.cache import BlockCache


class CacheUse(RuleBasedStateMachine):
    """Sequences take, fill, share and give back blocks in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = BlockCache(12)
        self.held: list[list[int]] = []
        self.content: dict[int, int] = {}
        self.evictions_seen = 0

    @rule(count=st.integers(1, 5))
    def allocate(self, count: int) -> None:
        if count <= self.cache.free:
            blocks = self.cache.allocate(count)
            for block in blocks:
                self.content.pop(block, None)
            self.held.append(blocks)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), block_hash=st.integers(0, 9))
    def store(self, data: st.DataObject, block_hash: int) -> None:
        fresh = [block for blocks in self.held for block in blocks if block not in self.content]
        if fresh:
            block = data.draw(st.sampled_from(fresh))
            self.cache.store(block, block_hash)
            self.content[block] = block_hash

    @rule(hashes=st.lists(st.integers(0, 9), max_size=4))
    def share(self, hashes: list[int]) -> None:
        found = self.cache.longest_prefix(hashes, limit=4)
        assert [self.content[block] for block in found] == hashes[: len(found)]
        assert self.cache.free_after(set(found)) >= 0
        if len(set(found)) == len(found):
            free_after = self.cache.free_after(found)
            self.cache.acquire(found)
            assert self.cache.free == free_after
            self.held.append(found)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        self.cache.release(reversed(self.held.pop(index)))

    @rule()
    def clear(self) -> None:
        if self.cache.clear():
            assert not any(self.held)
            self.content.clear()

    @invariant()
    def free_and_used_are_all(self) -> None:
        assert self.cache.free + self.cache.used == self.cache.total
        assert self.cache.used == len({block for blocks in self.held for block in blocks})

    @invariant()
    def references_are_those_who_hold(self) -> None:
        holders = Counter(block for blocks in self.held for block in blocks)
        assert all(self.cache.references(block) == holders[block] for block in range(self.cache.total))

    @invariant()
    def what_is_held_is_never_evicted(self) -> None:
        held = {block for blocks in self.held for block in blocks}
        assert all(self.cache.holds(self.content[block]) for block in held & self.content.keys())

    @invariant()
    def every_content_can_be_found(self) -> None:
        assert self.cache.cached_hashes == len(set(self.content.values()))


TestCacheUse = CacheUse.TestCase


def _filled(cache: BlockCache, *hashes: int) -> list[int]:
    blocks = cache.allocate(len(hashes))
    for block, block_hash in zip(blocks, hashes, strict=True):
        cache.store(block, block_hash)
    return blocks


def test_the_least_recently_used_block_is_evicted_first() -> None:
    cache = BlockCache(3)
    for block_hash in (1, 2, 3):
        cache.release(_filled(cache, block_hash))
    cache.acquire(touched := cache.longest_prefix([1], 1))
    cache.release(touched)
    cache.allocate(1)
    assert [cache.holds(block_hash) for block_hash in (1, 2, 3)] == [True, False, True]


def test_a_block_held_by_two_is_free_when_both_let_go() -> None:
    cache = BlockCache(2)
    blocks = _filled(cache, 1)
    cache.acquire(blocks)
    cache.release(blocks)
    assert cache.used == 1
    cache.release(blocks)
    assert cache.used == 0


def test_content_stored_twice_survives_the_loss_of_one_copy() -> None:
    cache = BlockCache(2)
    cache.release(_filled(cache, 7))
    cache.release(_filled(cache, 7))
    cache.allocate(1)
    assert cache.holds(7)
    cache.allocate(1)
    assert not cache.holds(7)
    assert cache.evictions == 2


def test_a_cache_in_use_is_not_cleared() -> None:
    cache = BlockCache(2)
    blocks = _filled(cache, 1)
    assert not cache.clear()
    cache.release(blocks)
    assert cache.clear()
    assert not cache.holds(1)

"""The cache index, against a plain model of what it should say."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from extproc.fleet.index import CacheIndex
from extproc.prefix import Chain
from tests.unit.say import chain

NAMES = ["a", "b", "c"]
names = st.sampled_from(NAMES)
# Few distinct blocks, so that chains share prefixes; a hash chain never repeats a block.
chains = st.lists(st.integers(0, 9), max_size=6, unique=True).map(lambda blocks: chain(*blocks))


class IndexMachine(RuleBasedStateMachine):
    """Holds and claims at random; the model keeps a plain list per replica."""

    bound = 8

    def __init__(self) -> None:
        super().__init__()
        self.index = CacheIndex(self.bound)
        self.held: dict[str, list[int]] = {}
        self.claims: dict[str, Counter[int]] = {}
        self.open: list[tuple[str, Chain]] = []

    @rule(name=names)
    def add(self, name: str) -> None:
        self.index.add(name)
        self.held.setdefault(name, [])
        self.claims.setdefault(name, Counter())

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.index.remove(name)
        self.held.pop(name, None)
        self.claims.pop(name, None)
        self.open = [(owner, prompt) for owner, prompt in self.open if owner != name]

    @rule(name=names)
    def clear(self, name: str) -> None:
        self.index.clear(name)
        if name in self.held:
            self.held[name] = []

    @rule(name=names, prompt=chains)
    def store(self, name: str, prompt: Chain) -> None:
        self.index.store(name, prompt)
        if name in self.held:
            kept = [block for block in self.held[name] if block not in prompt.hashes]
            self.held[name] = (kept + list(reversed(prompt.hashes)))[-self.bound :]

    @rule(name=names, prompt=chains)
    def claim(self, name: str, prompt: Chain) -> None:
        self.index.claim(name, prompt)
        if name in self.claims:
            self.claims[name].update(prompt.hashes)
            self.open.append((name, prompt))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.open:
            name, prompt = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            self.index.release(name, prompt)
            self.claims[name].subtract(prompt.hashes)
            self.claims[name] = +self.claims[name]

    @rule(prompt=chains)
    def match(self, prompt: Chain) -> None:
        expected = {}
        for name in self.held:
            known = set(self.held[name]) | set(self.claims[name])
            blocks = next((i for i, block in enumerate(prompt.hashes) if block not in known), len(prompt.hashes))
            if blocks:
                expected[name] = blocks * 10
        assert self.index.match(prompt) == expected

    @invariant()
    def counts_agree(self) -> None:
        for name in self.held:
            known = set(self.held[name]) | set(self.claims[name])
            assert self.index.tokens(name) == 10 * len(known)
            assert self.index.held_blocks(name) == len(self.held[name]) <= self.bound
            assert self.index.claimed_blocks(name) == len(self.claims[name])

    @invariant()
    def nothing_is_left_behind(self) -> None:
        known = {block for name in self.held for block in (*self.held[name], *self.claims[name])}
        assert len(self.index) == len(known)


IndexMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_the_index_agrees_with_a_plain_model = IndexMachine.TestCase


def test_only_a_contiguous_prefix_counts() -> None:
    index = CacheIndex(100)
    index.add("a")
    index.store("a", chain(1))
    index.store("a", Chain((3,), (10,), 10))
    assert index.match(chain(1, 2, 3)) == {"a": 10}


def test_the_tail_of_a_prompt_is_evicted_before_its_head() -> None:
    index = CacheIndex(3)
    index.add("a")
    index.store("a", chain(1, 2, 3))
    index.store("a", chain(7))
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_what_is_in_flight_counts_until_it_ends() -> None:
    index = CacheIndex(100)
    index.add("a")
    index.claim("a", chain(1, 2))
    index.claim("a", chain(1, 2))
    index.release("a", chain(1, 2))
    assert index.match(chain(1, 2)) == {"a": 20}
    index.release("a", chain(1, 2))
    assert index.match(chain(1, 2)) == {}
    assert len(index) == 0


def test_a_replica_that_left_frees_its_place_for_another() -> None:
    index = CacheIndex(100)
    index.add("a")
    index.store("a", chain(1))
    index.remove("a")
    index.add("b")
    assert index.match(chain(1)) == {}


def test_an_index_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CacheIndex(0)

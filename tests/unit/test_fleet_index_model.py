"""The cache index, against a plain model that keeps every block of every replica by itself."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from xxhash import xxh3_64_intdigest

from extproc.fleet.index import CacheIndex
from extproc.fleet.recency import Entry
from extproc.fleet.tree import Further, Holding, Node
from extproc.prefix import Chain

WEIGHTS = {"a": 10, "b": 10, "c": 7, "I": 70, "z": 0}  # tokens of a block; I is an image
MAX_BLOCKS = 16

names = st.sampled_from(["a", "a", "a", "b"])
# Leading parts of a few texts that fork: most prompts share something.
TEXTS = ["abcIabzcabacb", "abcIabzb", "abcIzzab", "abcbaaaaaa", "abI", "Ia"]
times = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0])


def prompt(text: str) -> Chain:
    """One block a letter, chained as `prefix.chain` does."""
    link, hashes = 0, []
    for letter in text:
        link = xxh3_64_intdigest(letter.encode(), link)
        hashes.append(link)
    weights = tuple(WEIGHTS[letter] for letter in text)
    return Chain(tuple(hashes), weights, sum(weights))


prompts = st.builds(lambda text, blocks: prompt(text[:blocks]), st.sampled_from(TEXTS), st.integers(0, 13))
# (call that used it last, place in its prompt counted backwards): ascending is the order of eviction.
Order = tuple[int, int]


@dataclass
class Piece:
    """A block, or what is held behind a prompt and has no name."""

    tokens: int
    order: Order = (0, 0)
    used_s: float = 0.0


@dataclass
class Replica:
    """What an engine would hold, said block by block."""

    capacity: float = math.inf
    calls: int = 0
    blocks: dict[int, Piece] = field(default_factory=dict)  # by hash
    further: dict[int, Piece] = field(default_factory=dict)  # by the last hash in front of it
    claims: Counter[int] = field(default_factory=Counter)
    weights: dict[int, int] = field(default_factory=dict)

    def claim(self, chain: Chain) -> None:
        self.weights.update(zip(chain.hashes, chain.weights, strict=True))
        self.claims.update(chain.hashes)
        self.evict()

    def release(self, chain: Chain) -> None:
        self.claims = self.claims - Counter(chain.hashes)
        self.calls += 1
        for place, block in enumerate(chain.hashes):
            if block in self.blocks:
                self.blocks[block].order = (self.calls, -place)
        self.evict()

    def store(self, chain: Chain, at_s: float, further_tokens: int) -> None:
        self.calls += 1
        held = [self.blocks[block].used_s for block in chain.hashes if block in self.blocks]
        at_s = max([at_s, *held[-1:]])
        for block in (0, *chain.hashes):
            self.further.pop(block, None)
        if further_tokens:
            end = (0, *chain.hashes)[-1]
            self.further[end] = Piece(further_tokens, (self.calls, -len(chain)), at_s)
        for place, (block, tokens) in enumerate(zip(chain.hashes, chain.weights, strict=True)):
            self.weights[block] = tokens
            piece = self.blocks.setdefault(block, Piece(tokens, used_s=at_s))
            piece.order, piece.used_s = (self.calls, -place), max(piece.used_s, at_s)
        self.evict()

    def evict(self) -> None:
        while self.tokens > self.capacity or len(self.known) > MAX_BLOCKS:
            free = [piece for block, piece in self.blocks.items() if block not in self.claims]
            free += self.further.values()
            if not free:
                return
            oldest = min(free, key=lambda piece: piece.order)
            excess = self.tokens - self.capacity
            if 0 < excess < oldest.tokens and any(oldest is piece for piece in self.further.values()):
                oldest.tokens -= int(excess)
            else:
                self.drop([oldest])

    def trim(self, chain: Chain, cached_tokens: int, before_s: float) -> int:
        starts = [sum(chain.weights[:place]) for place in range(len(chain))]
        block = next((b for b, start in zip(chain.hashes, starts, strict=True) if start >= cached_tokens), None)
        gone = self.blocks.get(block) if block is not None else None
        if gone is None or gone.used_s >= before_s:
            return 0
        held = [*self.blocks.values(), *self.further.values()]
        return self.drop([piece for piece in held if piece.order <= gone.order and piece.used_s <= gone.used_s])

    def drop(self, pieces: list[Piece]) -> int:
        dropped = {id(piece) for piece in pieces}
        self.blocks = {block: piece for block, piece in self.blocks.items() if id(piece) not in dropped}
        self.further = {block: piece for block, piece in self.further.items() if id(piece) not in dropped}
        return sum(piece.tokens for piece in pieces)

    @property
    def known(self) -> set[int]:
        return self.blocks.keys() | self.claims.keys()

    @property
    def tokens(self) -> int:
        return sum(self.weights[block] for block in self.known) + sum(each.tokens for each in self.further.values())

    @property
    def oldest_use_s(self) -> float | None:
        free = [piece for block, piece in self.blocks.items() if block not in self.claims]
        oldest = min([*free, *self.further.values()], key=lambda piece: piece.order, default=None)
        return oldest.used_s if oldest else None


class IndexMachine(RuleBasedStateMachine):
    """Does at random what a fleet does, to the index and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.index = CacheIndex(MAX_BLOCKS)
        self.replicas: dict[str, Replica] = {}
        self.running: list[tuple[str, Chain]] = []
        self.add("a")
        self.add("b")

    @rule(name=names)
    def add(self, name: str) -> None:
        self.index.add(name)
        self.replicas.setdefault(name, Replica())

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.index.remove(name)
        self.replicas.pop(name, None)
        self.running = [(owner, chain) for owner, chain in self.running if owner != name]

    @rule(name=names)
    def clear(self, name: str) -> None:
        self.index.clear(name)
        if replica := self.replicas.get(name):
            replica.blocks, replica.further = {}, {}

    @rule(name=names, tokens=st.sampled_from([None, None, 5, 77, 150]))
    def set_capacity(self, name: str, tokens: int | None) -> None:
        self.index.set_capacity(name, tokens)
        if replica := self.replicas.get(name):
            replica.capacity = math.inf if tokens is None else tokens
            replica.evict()

    @rule(name=names, chain=prompts, at_s=times, further_tokens=st.sampled_from([0, 0, 3, 40]))
    def store(self, name: str, chain: Chain, at_s: float, further_tokens: int) -> None:
        self.index.store(name, chain, at_s, further_tokens)
        if replica := self.replicas.get(name):
            replica.store(chain, at_s, further_tokens)

    @rule(name=names, chain=prompts)
    def claim(self, name: str, chain: Chain) -> None:
        self.index.claim(name, chain)
        if replica := self.replicas.get(name):
            replica.claim(chain)
            self.running.append((name, chain))

    @rule(data=st.data(), served=st.booleans(), at_s=times)
    def end(self, data: st.DataObject, served: bool, at_s: float) -> None:
        if not self.running:
            return
        name, chain = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if served:
            self.store(name, chain, at_s, 4)
        self.index.release(name, chain)
        if chain.hashes:
            self.replicas[name].release(chain)

    @rule(name=names, chain=prompts, cached_tokens=st.integers(-1, 150), before_s=times)
    def trim(self, name: str, chain: Chain, cached_tokens: int, before_s: float) -> None:
        replica = self.replicas.get(name, Replica())
        assert self.index.trim(name, chain, cached_tokens, before_s) == replica.trim(chain, cached_tokens, before_s)

    @rule(chain=prompts)
    def match(self, chain: Chain) -> None:
        expected = {}
        for name, replica in self.replicas.items():
            known = replica.known
            blocks = next((i for i, block in enumerate(chain.hashes) if block not in known), len(chain))
            if tokens := sum(chain.weights[:blocks]):
                expected[name] = tokens
        assert self.index.match(chain) == expected

    @invariant()
    def what_is_known_agrees(self) -> None:
        for name, replica in self.replicas.items():
            assert self.index.tokens(name) == replica.tokens
            assert self.index.held_blocks(name) == len(replica.blocks)
            assert self.index.claimed_blocks(name) == len(replica.claims)
            assert self.index.oldest_use_s(name) == replica.oldest_use_s
            room = None if math.isinf(replica.capacity) else max(0, replica.capacity - replica.tokens)
            assert self.index.room(name) == room

    @invariant()
    def nothing_is_left_behind(self) -> None:
        assert len(self.index) == len({block for replica in self.replicas.values() for block in replica.known})

    @invariant()
    def the_tree_is_sound(self) -> None:
        check(self.index)

    def teardown(self) -> None:
        for name in list(self.replicas):
            self.index.remove(name)
        assert len(self.index) == 0
        assert not self.index._tree.root.children


def check(index: CacheIndex) -> None:
    """What the code relies on, beyond what can be seen from outside."""
    nodes = list(walk(index._tree.root))
    assert len(index) == sum(len(node) for node in nodes)
    for node in nodes:
        parent = node.parent
        assert parent is not None and parent.children[node.hashes[0]] is node
        assert (node.start, node.before) == (parent.end, parent.ends[-1] if parent.ends else 0)
        assert (node.end, node.last, len(node.ends)) == (node.start + len(node), node.hashes[-1], len(node))
        whole = {slot for slot, each in node.holdings.items() if each.claims or each.held == len(node)}
        assert whole and node.mask == sum(1 << slot for slot in whole)
        assert node.partial == sum(1 << slot for slot in node.holdings.keys() - whole)
        assert all(each.held > 0 for slot, each in node.holdings.items() if slot not in whole)
        for slot, holding in node.holdings.items():
            above = parent.holdings.get(slot)
            assert holding.node is node
            if parent.parent is not None:
                assert above is not None and above.claims >= holding.claims
                assert not holding.held or (above.held == len(parent) and above.used_s >= holding.used_s)
    for shadow in index._shadows.values():
        evictable, pinned = list(shadow.evictable), list(shadow._pinned)
        assert all(older.goes_before(newer) for older, newer in pairwise(evictable))
        holdings = {id(node.holdings[shadow.slot]) for node in nodes if shadow.slot in node.holdings}
        assert holdings == {id(each) for each in evictable + pinned if isinstance(each, Holding)}
        assert all(is_attached(each) for each in evictable)


def walk(node: Node) -> list[Node]:
    return [found for child in node.children.values() for found in (child, *walk(child))]


def is_attached(entry: Entry) -> bool:
    return not isinstance(entry, Further) or (entry.above.further is entry and entry.tokens > 0)


IndexMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
test_the_index_agrees_with_a_plain_model = IndexMachine.TestCase

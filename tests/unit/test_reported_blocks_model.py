"""The fold of KV events, against a plain model that keeps every copy of every block."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from extproc.fleet.blocks import Claim, ReportedBlocks
from extproc.fleet.events import CacheCleared
from extproc.fleet.kv_events import GPU, HOST, BlocksRemoved, BlocksStored, FeedReported
from extproc.prefix.exact import ExactPrompt
from extproc.prefix.media_runs import MediaRuns

SIZE = 2
TEXTS = ["abcdefgh", "abcdefxy", "abxxefgh", "zzcdefgh"]
REPLICAS = ["a", "b", "c"]
DOMAINS = {"a": "node", "b": "node", "c": ""}
MEDIA = [GPU, HOST]

replicas = st.sampled_from(REPLICAS)
media = st.sampled_from(MEDIA)
texts = st.sampled_from(TEXTS)


def ids(text: str) -> array[int]:
    return array("I", map(ord, text))


def prefixes(text: str) -> list[str]:
    return [text[:end] for end in range(SIZE, len(text) + 1, SIZE)]


def name(prefix: str, alias: int) -> int:
    """An engine's hash of the block that ends a prefix."""
    return hash((prefix, alias)) & 0xFFFF_FFFF


@dataclass
class Cache:
    """What one replica said it holds in one medium: copies by hash, and the prefix that each hash stands for."""

    copies: Counter[int] = field(default_factory=Counter)
    placed: dict[int, str] = field(default_factory=dict)
    past: dict[int, str] = field(default_factory=dict)

    def holds(self, prefix: str) -> bool:
        return any(self.placed.get(block) == prefix for block in self.copies)


class Fold(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = ReportedBlocks(MediaRuns())
        for replica, domain in DOMAINS.items():
            self.blocks.set_domain(replica, domain)
            self.blocks.set_block_size(replica, SIZE)
        self.caches = {(replica, medium): Cache() for replica in REPLICAS for medium in MEDIA}
        self.claims: list[tuple[str, str, Claim]] = []

    @rule(
        replica=replicas,
        medium=media,
        text=texts,
        first=st.integers(0, 3),
        count=st.integers(1, 4),
        alias=st.integers(0, 1),
    )
    def store(self, replica: str, medium: str, text: str, first: int, count: int, alias: int) -> None:
        chosen = prefixes(text)[first : first + count]
        parent = name(prefixes(text)[first - 1], alias) if first else None
        hashes = tuple(name(prefix, alias) for prefix in chosen)
        tokens = ids(text[first * SIZE : (first + len(chosen)) * SIZE])
        extras = (None,) * len(chosen) if medium == GPU else None
        self.blocks.apply(BlocksStored(0.0, replica, medium, SIZE, hashes, parent, tokens, extras))
        cache = self.caches[replica, medium]
        known = parent is None or parent in cache.placed or parent in cache.past
        for block, prefix in zip(hashes, chosen, strict=True):
            cache.copies[block] += 1
            if known:
                cache.placed[block] = prefix

    @rule(replica=replicas, medium=media, text=texts, block=st.integers(0, 3), alias=st.integers(0, 1))
    def remove(self, replica: str, medium: str, text: str, block: int, alias: int) -> None:
        gone = name(prefixes(text)[block], alias)
        self.blocks.apply(BlocksRemoved(0.0, replica, medium, (gone,)))
        cache = self.caches[replica, medium]
        if cache.copies[gone] > 1:
            cache.copies[gone] -= 1
            return
        del cache.copies[gone]
        if gone in cache.placed:
            cache.past[gone] = cache.placed.pop(gone)

    @rule(replica=replicas)
    def clear(self, replica: str) -> None:
        self.blocks.apply(CacheCleared(0.0, replica))
        self.caches[replica, GPU] = Cache()

    @rule(replica=replicas)
    def begin_anew(self, replica: str) -> None:
        self.blocks.apply(FeedReported(0.0, replica, "partial", anew=True))
        for medium in MEDIA:
            self.caches[replica, medium] = Cache()

    @rule(replica=replicas)
    def leave_and_return(self, replica: str) -> None:
        self.blocks.forget(replica)
        self.blocks.set_domain(replica, DOMAINS[replica])
        self.blocks.set_block_size(replica, SIZE)
        for medium in MEDIA:
            self.caches[replica, medium] = Cache()
        for claimed, _, claim in self.claims:
            if claimed == replica:
                self.blocks.release(claim)
        self.claims = [each for each in self.claims if each[0] != replica]

    @rule(replica=replicas, text=texts)
    def claim(self, replica: str, text: str) -> None:
        self.claims.append((replica, text, self.blocks.claim(replica, ExactPrompt(ids(text)))))

    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        if self.claims:
            self.blocks.release(self.claims.pop(which % len(self.claims))[2])

    @invariant()
    def every_prompt_finds_what_the_caches_hold(self) -> None:
        for text in TEXTS:
            found = self.blocks.look_up(ExactPrompt(ids(text + "?")))
            assert found.tokens == self.expected(text, GPU)
            assert found.behind == self.expected(text, HOST)

    @invariant()
    def copies_are_counted(self) -> None:
        for (replica, medium), cache in self.caches.items():
            unplaced = sum(block not in cache.placed for block in cache.copies)
            assert self.blocks.unplaced_blocks(replica, medium) == unplaced
            assert self.blocks.held_blocks(replica, medium) == len(cache.copies) - unplaced

    def expected(self, text: str, medium: str) -> dict[str, int]:
        matched: dict[str, int] = {}
        for replica in REPLICAS:
            for prefix in prefixes(text):
                if not self.held(replica, medium, prefix):
                    break
                matched[replica] = len(prefix)
        return matched

    def held(self, replica: str, medium: str, prefix: str) -> bool:
        if medium == HOST:
            sharing = [each for each in REPLICAS if each == replica or DOMAINS[each] == DOMAINS[replica] != ""]
            return any(self.caches[each, HOST].holds(prefix) for each in sharing)
        claimed = any(each == replica and text.startswith(prefix) for each, text, _ in self.claims)
        return claimed or self.caches[replica, GPU].holds(prefix)


TestFold = Fold.TestCase
TestFold.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

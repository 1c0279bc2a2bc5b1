"""What engines say they hold, by their KV events: the index of precise mode.

Blocks are known by the gateway's own keys (`prefix/exact.py`), so one walk over a prompt's keys finds what every
replica holds of it, whatever each engine calls its blocks. What cannot be placed is not guessed at: the fold may
know less than an engine holds, never more.

Of a model with several kinds of layers, the blocks of one group count, the first heard of whose layers attend to the
whole prompt: a prefix is of use only as far as that group has it.

LMCache's events name neither the adapter, which it ignores, nor the cache salt, which it heeds; see `SaltedRoots`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from extproc.fleet.block_names import BlockNames
from extproc.fleet.block_replicas import BlockReplica, BlockReplicas, Claim
from extproc.fleet.events import CacheCleared
from extproc.fleet.image_runs import image_runs
from extproc.fleet.kv_events import GPU, HOST, BlocksRemoved, BlocksStored, ExtraKeys, FeedReported, FeedState
from extproc.fleet.lmcache_ids import lmcache_prompt
from extproc.fleet.salted_roots import SaltedRoots
from extproc.prefix.exact import ID_BYTES, ROOT, ExactPrompt, block_key, extra_bytes, keys
from extproc.prefix.media_runs import MediaRuns

__all__ = ["BlockEvent", "Claim", "Reported", "ReportedBlocks"]

BlockEvent = BlocksStored | BlocksRemoved | CacheCleared | FeedReported

_WHOLE_PROMPT = {"full_attention", "mla_attention", "sink_full_attention"}
"""Kinds of layers of which a prompt's every block counts; also where the engine does not say."""

_REPORTED_WITHIN_S = 2.0
"""On a busy machine an engine's answers overtake its events."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Leading prompt tokens that replicas hold or soon will; those that have none are left out.

    Args:
        tokens: in the engines' own caches.
        behind: in the host tiers behind them, from the prompt's first token on.
    """

    tokens: Mapping[str, int]
    behind: Mapping[str, int]


class _Keys:
    """A prompt's keys by block size, each computed once."""

    __slots__ = ("_by_size", "prompt")

    def __init__(self, prompt: ExactPrompt) -> None:
        self.prompt = prompt
        self._by_size: dict[int, tuple[int, ...]] = {}

    def of(self, size: int) -> tuple[int, ...]:
        if size not in self._by_size:
            self._by_size[size] = keys(self.prompt, size)
        return self._by_size[size]


class ReportedBlocks:
    """The fold of KV events, for the whole fleet.

    Args:
        runs: is told how many tokens images take.
        max_blocks_per_replica: bound of what is remembered of one replica, over all media. What it stores beyond that
            is not remembered, nor what is stored behind it. A block takes some 250 bytes, so 200,000 are 50 MB.

    Attributes:
        faults: what events could not be used, by kind.
        runs: what was learned of images.
    """

    def __init__(self, runs: MediaRuns, max_blocks_per_replica: int = 200_000) -> None:
        self.runs = runs
        self._max_blocks = max_blocks_per_replica
        self._replicas = BlockReplicas()
        self._salted = SaltedRoots()
        self._late: deque[tuple[float, Claim]] = deque()  # what was served, and until when it is waited for
        self.faults: Counter[str] = Counter()

    def apply(self, event: BlockEvent) -> None:
        """Takes one fact in."""
        match event:
            case BlocksStored():
                self._stored(event)
            case BlocksRemoved():
                self._removed(event)
            case CacheCleared():
                if (replica := self._replicas.get(event.replica)) and (names := replica.media.get(GPU)):
                    names.clear()
            case FeedReported():
                self._reported(event)
        if self._late:
            # Nobody knows whether what an engine forgot came before or after.
            self._release_late(inf if isinstance(event, CacheCleared) else event.at_s)

    def set_domain(self, replica: str, domain: str) -> None:
        """The host tier behind a replica is that of this domain; empty: it is the replica's own."""
        self._replicas.known(replica).domain = domain

    def set_block_size(self, replica: str, block_size: int | None) -> None:
        """What the engine says of itself; its events say it better, but only once there are some."""
        known = self._replicas.known(replica)
        if block_size and GPU not in known.media:
            known.block_size = block_size

    def forget(self, replica: str) -> None:
        """The replica is gone, with all that was known of it and its claims."""
        self._replicas.forget(replica)

    @property
    def followed(self) -> tuple[str, ...]:
        """Replicas that have a feed."""
        return tuple(name for name, replica in self._replicas if replica.media or replica.state is not None)

    def state(self, replica: str) -> FeedState:
        """How much the replica's feed knows; "down" if nothing was ever heard of it."""
        known = self._replicas.get(replica)
        return (known.state if known else None) or "down"

    def block_size(self, replica: str) -> int | None:
        """Tokens in a block of the engine's own cache; None if not known."""
        known = self._replicas.get(replica)
        return known.block_size if known else None

    def host_block_sizes(self) -> Mapping[str, int]:
        """Tokens in a block of the host tier behind each replica; without those of which nothing was reported."""
        return self._replicas.host_block_sizes()

    def held_blocks(self, replica: str, medium: str = GPU) -> int:
        """Different blocks that the replica holds, as far as they can be placed."""
        names = self._names_in(replica, medium)
        return names.held if names else 0

    def unplaced_blocks(self, replica: str, medium: str = GPU) -> int:
        """Blocks that it holds behind something that was never heard of."""
        names = self._names_in(replica, medium)
        return names.unplaced if names else 0

    def look_up(self, prompt: ExactPrompt) -> Reported:
        """Matches a prompt against all replicas at once.

        An engine computes at least the last token of a prompt, so a match ends before it.
        """
        tokens: dict[str, int] = {}
        behind: dict[str, int] = {}
        own = _Keys(prompt)
        lmcache: _Keys | None = None
        for (medium, size, substituted), layer in self._replicas.layers.items():
            if medium == GPU:
                ended = layer.walk(own.of(size)[: _most_blocks(prompt, size)])
            elif substituted:
                lmcache = lmcache or _Keys(lmcache_prompt(prompt))
                reach = self._salted.reach(lmcache.prompt.ids, prompt.cache_salt, own.of)
                found = lmcache.of(size)
                ended = layer.walk_shared(
                    found if reach is None else found[: reach // size], self._replicas.sharing(layer)
                )
            else:
                ended = layer.walk_shared(own.of(size), self._replicas.sharing(layer))
            best = tokens if medium == GPU else behind
            for blocks, mask in ended:
                matched = min(blocks * size, len(prompt.ids) - prompt.complete)
                for name in self._replicas.named(mask):
                    best[name] = max(best.get(name, 0), matched)
        return Reported(tokens, behind)

    def claim(self, replica: str, prompt: ExactPrompt) -> Claim:
        """A request is on its way to the replica, which will hold its prompt: that counts from now on.

        Without a block size, there is nothing to claim.
        """
        known = self._replicas.known(replica)
        size = known.block_size
        return self._replicas.claim(known, size or 0, keys(prompt, size) if size else ())

    def release(self, claim: Claim) -> None:
        """The request has ended. What it left behind, the engine reports."""
        self._replicas.release(claim)

    def served(self, claim: Claim, at_s: float) -> None:
        """The request was answered. What it left behind counts until the engine reports it: that may come later."""
        self._late.append((at_s + _REPORTED_WITHIN_S, claim))
        self._release_late(at_s)

    def _release_late(self, now_s: float) -> None:
        late = self._late
        while late and (late[0][0] <= now_s or not self._replicas.awaits(late[0][1])):
            self.release(late.popleft()[1])

    def _stored(self, event: BlocksStored) -> None:
        replica = self._replicas.known(event.replica)
        names = self._names_for(replica, event)
        if names is None:
            return
        size, hashes = event.block_size, event.hashes
        fits = len(event.token_ids) == size * len(hashes)
        extras = event.extra_keys
        if not fits or (extras is not None and len(extras) != len(hashes)):
            self.faults["blocks and tokens do not add up"] += 1
            parent: int | None = None
        else:
            parent = ROOT if event.parent is None else names.key_of(event.parent)
            if extras is not None:
                if event.parent is None and event.medium == GPU:
                    self._salted.note(event)
                for identifier, run in image_runs(event):
                    self.runs.learn(identifier, len(run), run)
        self._place(event, names, parent, self._max_blocks - replica.blocks)

    def _place(self, event: BlocksStored, names: BlockNames, parent: int | None, room: int) -> None:
        content, step = memoryview(event.token_ids.tobytes()), event.block_size * ID_BYTES
        extras = event.extra_keys if event.extra_keys is not None else _unsaid(event)
        unplaced = 0
        for number, block in enumerate(event.hashes):
            if parent is None:
                unplaced += 1
            else:
                parent = _key(parent, content[number * step : (number + 1) * step], extras[number])
                if parent is not None and event.medium == GPU:
                    self._salted.stored(parent)
            if not names.knows(block):
                if room <= 0:
                    self.faults["beyond max_blocks_per_replica"] += len(event.hashes) - number
                    break
                room -= 1
            names.store(block, parent)
        if unplaced:
            self.faults["parent unknown"] += unplaced

    def _removed(self, event: BlocksRemoved) -> None:
        names = self._names_in(event.replica, event.medium)
        if names is None or event.group != names.group:
            return
        for block in event.hashes:
            names.remove(block)

    def _reported(self, event: FeedReported) -> None:
        replica = self._replicas.known(event.replica)
        replica.state = event.state
        if event.anew:
            self._replicas.clear(replica)

    def _names_for(self, replica: BlockReplica, event: BlocksStored) -> BlockNames | None:
        """Where the event's blocks belong; None if they do not count."""
        names = replica.media.get(event.medium)
        if names is not None and names.group != event.group:
            return None
        if event.kind is not None and event.kind not in _WHOLE_PROMPT:
            return None
        if event.medium not in (GPU, HOST):
            self.faults["medium unknown"] += 1
            return None
        if names is not None and event.medium == GPU and event.block_size < names.block_size:
            # An engine whose groups differ in size stores the tail of a prompt as a part of a block, too.
            self.faults["part of a block"] += 1
            return None
        if names is None or names.block_size != event.block_size:
            if names is not None:
                names.clear()
            substituted = event.medium != GPU and event.extra_keys is None
            self._salted.needed |= substituted
            layer = self._replicas.layer((event.medium, event.block_size, substituted))
            names = BlockNames(layer, replica.bit, event.block_size, event.group)
            replica.media[event.medium] = names
            self._replicas.leave_layers(replica)
            if event.medium == GPU:
                replica.block_size = event.block_size
        return names

    def _names_in(self, replica: str, medium: str) -> BlockNames | None:
        known = self._replicas.get(replica)
        return known.media.get(medium) if known else None


def _most_blocks(prompt: ExactPrompt, block_size: int) -> int:
    """Blocks in front of the last token, which is computed whatever is cached."""
    return (len(prompt.ids) - prompt.complete) // block_size


def _unsaid(event: BlocksStored) -> ExtraKeys:
    """The extra keys of blocks whose sender names none."""
    return tuple([[event.lora_name] if event.lora_name and event.medium == GPU else None] * len(event.hashes))


def _key(parent: int, ids: memoryview, extra: list[object] | None) -> int | None:
    """The key of a reported block; None if what it is said to be made of makes no sense."""
    if not extra:
        return block_key(parent, ids)
    try:
        return block_key(parent, ids, extra_bytes(extra))
    except OverflowError:
        return None

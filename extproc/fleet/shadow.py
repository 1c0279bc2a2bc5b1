"""A shadow of one KV cache, a replica's or a tier's: what it holds, and in which order it would evict it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from extproc.fleet.recency import Entry, Recency
from extproc.fleet.reuse import Reuse
from extproc.fleet.tree import Further, Holding, Node, PrefixTree
from extproc.prefix import Chain


class Shadow:
    """The holdings of one replica.

    Engines evict the least recently used block that no running request needs. A call uses a prompt up to its end, and
    files the end before the beginning: whatever is oldest is the tail of all that the replica holds of its prompt.

    Args:
        slot: number of the replica's bit in masks.
        max_blocks: bound of what is held and claimed.
        reuse: is told how long what is held stays idle.

    Attributes:
        capacity: tokens that the engine's cache has room for; None if not known.
        tokens: of all that is held or claimed, with and without a name.
        blocks: held or claimed.
    """

    def __init__(self, tree: PrefixTree, slot: int, max_blocks: int, reuse: Reuse) -> None:
        self.slot = slot
        self.bit = 1 << slot
        self.capacity: int | None = None
        self.tokens = 0
        self.blocks = 0
        self.held_blocks = 0
        self.claimed_blocks = 0
        self.claimed_tokens = 0
        self.evictable = Recency()
        self._max_blocks = max_blocks
        self._tree = tree
        self._reuse = reuse
        self._now_s = -math.inf
        self._pinned = Recency()
        self._top = Holding(tree.root)  # what a prompt of no block hangs on
        self._calls = 0
        # (blocks, last hash) of a chain -> its last node, requests in flight. A release climbs up from the very node
        # that was claimed, so that it is exact even if prompts were made to collide.
        self._ends: dict[tuple[int, int], tuple[Node, int]] = {}

    def claim(self, chain: Chain, at_s: float) -> None:
        self._now_s = max(self._now_s, at_s)
        key = (len(chain.hashes), chain.hashes[-1])
        end, requests = self._ends.get(key) or (self._tree.path(chain)[-1], 0)
        if self._tree.tiers:
            self._miss_in_gpus(end)
        elif not end.holdings:
            self._reuse.missed(end.hashes, self._now_s)
        self._ends[key] = (end, requests + 1)
        node: Node | None = end
        while node is not None and node.parent is not None:
            node.claims += 1
            self._claim(node)
            node = node.parent
        self.evict()

    def release(self, chain: Chain) -> None:
        key = (len(chain.hashes), chain.hashes[-1])
        claimed = self._ends.get(key)
        if claimed is None:
            return
        node: Node | None = claimed[0]
        if claimed[1] > 1:
            self._ends[key] = (claimed[0], claimed[1] - 1)
        else:
            del self._ends[key]
        self._calls += 1
        while node is not None and node.parent is not None:
            node.claims -= 1
            self._release(node)
            node = node.parent
        self.evict()

    def store(self, chain: Chain, at_s: float, further_tokens: int) -> None:
        self._calls += 1
        self._now_s = max(self._now_s, at_s)
        path = self._tree.path(chain)
        above = self._top
        if path:
            self._forget_further(above)
            end = path[-1]
            above = end.holdings.get(self.slot) or self._new(end)
        self._forget_further(above)
        at_s = max(at_s, self._used_s(path))
        if further_tokens > 0:
            above.further = Further(above, further_tokens, self._calls, at_s)
            self.evictable.file(above.further)
            self.tokens += further_tokens
        for node in reversed(path):
            self._hold(node, at_s)
        self._tree.join(path)
        self.evict()

    def trim(self, chain: Chain, block: int, before_s: float) -> int:
        """The block at this place of a chain was not in the cache at that time; see `CacheIndex.trim`."""
        node = self._tree.find(chain, block)
        gone = node.holdings.get(self.slot) if node is not None else None
        if node is None or gone is None or gone.held <= block - node.start or gone.used_s >= before_s:
            return 0
        dropped = 0
        for entry in self.evictable:
            if not entry.goes_before(gone):
                break
            if entry.used_s <= gone.used_s:
                dropped += self._shorten(entry, 0)
        for entry in self._pinned:
            if entry.goes_before(gone) and entry.used_s <= gone.used_s:
                dropped += self._shorten(entry, 0)
        return dropped + self._shorten(gone, block - node.start)

    def clear(self) -> None:
        """Forgets what is held; claims stay."""
        for pieces in (self.evictable, self._pinned):
            for entry in pieces:
                self._shorten(entry, 0)

    def forget(self) -> None:
        """Forgets what is held and claimed, for good."""
        self.clear()
        for entry in sorted(self._pinned, key=lambda entry: -entry.depth):
            assert isinstance(entry, Holding)
            entry.node.claims -= entry.claims
            self._drop(entry)

    def evict(self) -> None:
        """Makes what is held fit, as far as running requests allow."""
        while True:
            excess_tokens = 0 if self.capacity is None else self.tokens - self.capacity
            excess_blocks = self.blocks - self._max_blocks
            if excess_tokens <= 0 and excess_blocks <= 0:
                return
            oldest = self.evictable.oldest()
            if oldest is None:
                return
            kept = 0
            if isinstance(oldest, Further):
                kept = oldest.tokens - excess_tokens if excess_tokens > 0 else 0
            elif isinstance(oldest, Holding):
                kept = oldest.held
                if excess_tokens > 0:
                    ends = oldest.node.ends
                    kept = bisect_right(ends, ends[kept - 1] - excess_tokens, 0, kept)
                if excess_blocks > 0:
                    kept = min(kept, oldest.held - excess_blocks)
            self._evict(oldest, kept)

    def lifetime_s(self, now_s: float) -> float:
        """How long what is used now may lie idle before it is evicted, if things go on; see `CacheIndex`."""
        oldest = self.evictable.oldest()
        if self.capacity is None or oldest is None:
            return math.inf
        return max(0.0, now_s - oldest.used_s) * max(1.0, self.capacity / max(1, self.tokens))

    def _evict(self, entry: Entry, kept: int) -> None:
        """The engine has evicted what is behind the part that is kept."""
        run: Sequence[int] = ()
        tiers = self._tree.tiers
        # What a remote tier has is not lost with what is evicted in front of it, but GPUs miss it all the same.
        passed_over = tiers & ~self._tree.remote if self.bit & tiers else tiers
        if isinstance(entry, Holding) and not entry.node.has_elsewhere(self.bit | passed_over, kept):
            run = entry.node.hashes[max(kept, 0) : entry.held]
        used_s = entry.used_s
        tokens = self._shorten(entry, kept)
        if not self.bit & tiers:
            self._reuse.evicted(run, tokens, used_s, self._now_s)
        elif run:
            self._reuse.lost(run, tokens, used_s, self._now_s)

    def _miss_in_gpus(self, end: Node) -> None:
        """Tells of what a prompt would have found in some replica's cache, and may now find in a tier."""
        path = []
        node: Node | None = end
        while node is not None and node.parent is not None:
            path.append(node)
            node = node.parent
        for node in reversed(path):
            known = node.longest(self._tree.tiers)
            if known < len(node):
                self._reuse.missed(node.hashes[known:], self._now_s)

    def _used_s(self, path: list[Node]) -> float:
        """Last use of the last block held of a path: what continues it is no older, whatever a clock says."""
        for node in reversed(path):
            holding = node.holdings.get(self.slot)
            if holding is not None and holding.held:
                return holding.used_s
        return -math.inf

    def _new(self, node: Node) -> Holding:
        """A holding of nothing yet, in no list."""
        holding = node.holdings[self.slot] = Holding(node)
        return holding

    def _claim(self, node: Node) -> None:
        holding = node.holdings.get(self.slot)
        if holding is None:
            holding = self._new(node)
        elif holding.claims:
            holding.claims += 1
            return
        else:
            holding.unlink()
            self._reuse.used(self._now_s - holding.used_s, node.tokens(holding.held))
        holding.claims = 1
        self._pinned.file(holding)
        self.claimed_blocks += len(node)
        self.claimed_tokens += node.tokens(len(node))
        self._count(holding, len(node) - holding.held)
        node.mask |= self.bit
        node.partial &= ~self.bit

    def _release(self, node: Node) -> None:
        holding = node.holdings[self.slot]
        holding.stamp = self._calls
        holding.claims -= 1
        if holding.claims:
            return
        self.claimed_blocks -= len(node)
        self.claimed_tokens -= node.tokens(len(node))
        self._count(holding, holding.held - len(node))
        if not holding.held:
            self._drop(holding)
            return
        holding.unlink()
        self.evictable.file(holding)
        if holding.held < len(node):
            node.mask &= ~self.bit
            node.partial |= self.bit
            self._tree.settle(node)

    def _hold(self, node: Node, at_s: float) -> None:
        """The whole node is in the cache, most recently used."""
        holding = node.holdings.get(self.slot) or self._new(node)
        if holding.further is not None and holding.further.stamp != self._calls:
            self._forget_further(holding)
        new_blocks = len(node) - holding.held
        holding.used_s = max(at_s, holding.used_s) if holding.held else at_s
        if not holding.claims:
            if holding.held:
                holding.unlink()
            self.evictable.file(holding)
            if new_blocks:
                self._count(holding, new_blocks)
                node.mask |= self.bit
                node.partial &= ~self.bit
        holding.held = len(node)
        self.held_blocks += new_blocks
        holding.stamp = self._calls

    def _count(self, holding: Holding, blocks: int) -> None:
        """The blocks behind those held are known from now on, or, if negative, are no longer."""
        self.blocks += blocks
        tokens = holding.node.tokens(len(holding.node)) - holding.node.tokens(holding.held)
        self.tokens += tokens if blocks > 0 else -tokens

    def _shorten(self, entry: Entry, kept: int) -> int:
        """Of a holding only so many leading blocks are in the cache, or tokens of what has no name.

        Returns:
            Tokens that are no longer held.
        """
        if isinstance(entry, Further):
            return self._shorten_further(entry, kept)
        assert isinstance(entry, Holding)
        node, kept = entry.node, max(kept, 0)
        blocks, tokens = entry.held - kept, node.tokens(entry.held) - node.tokens(kept)
        self.held_blocks -= blocks
        entry.held = kept
        if not entry.claims:
            self.blocks -= blocks
            self.tokens -= tokens
            if kept:
                node.mask &= ~self.bit
                node.partial |= self.bit
                self._tree.settle(node)
            else:
                self._drop(entry)
        return tokens

    def _shorten_further(self, entry: Further, kept: int) -> int:
        tokens = entry.tokens - max(kept, 0)
        self.tokens -= tokens
        entry.tokens -= tokens
        if not entry.tokens:
            entry.unlink()
            entry.above.further = None
        return tokens

    def _forget_further(self, above: Holding) -> None:
        if above.further is not None:
            self._shorten_further(above.further, 0)

    def _drop(self, holding: Holding) -> None:
        """Nothing of it is held or claimed any more."""
        node = holding.node
        holding.unlink()
        del node.holdings[self.slot]
        node.mask &= ~self.bit
        node.partial &= ~self.bit
        self._tree.settle(node)

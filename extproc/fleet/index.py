"""Which replica holds which leading part of which prompt.

All known prompts are one prefix tree (`fleet/tree.py`) whose nodes carry a bit mask of replicas, so a single walk down
a chain matches it against the whole fleet at once: it costs one comparison a node, however many blocks a node has. Each
replica also has a shadow of its engine's cache (`fleet/shadow.py`), which evicts what the engine would evict.

A block can be *held* (a replica that served it keeps it) or *claimed* (a request in flight will put it there). Claims
count in a match, since the engine shares a prefix between running requests, but they vanish with their request. While
they last, what they need is not evicted.

A tier (`fleet/tiers.py`) stands behind one replica or several that share it: a host tier, and behind that the remote
one. It is one more holder in the same tree, so the same walk matches it, and has a bit and a shadow of its own. What a
replica has served is written through to its tiers at once; nothing is ever claimed there.

Memory: about 50 bytes a held block of conversations, 25 of long prompts, 7 where another replica holds it too; at the
default bound of 200,000 blocks 10 MB a replica, and as much a tier. At worst, if no prompt is longer than a block, 950
bytes: 190 MB, which only a replica whose engine has told no capacity can come near.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate

from extproc.config.topology import TierKind
from extproc.fleet.lookup import Lookup, named, shared
from extproc.fleet.reuse import Reuse
from extproc.fleet.shadow import Shadow
from extproc.fleet.tiers import Tier, Tiers
from extproc.fleet.tree import Node, PrefixTree
from extproc.prefix import Chain

_NONE: dict[int, Node] = {}  # children of a node that the prompt departs from


class CacheIndex:
    """The caches of every replica. What is said or asked of an unknown replica changes nothing and is nothing.

    Args:
        max_blocks_per_replica: hard bound of each replica's shadow, whatever its engine says, and of each tier's,
            whatever its size. What requests in flight need is in it, and is kept even if it alone exceeds it.

    Raises:
        ValueError: the bound is less than 1.
    """

    def __init__(self, max_blocks_per_replica: int) -> None:
        if max_blocks_per_replica < 1:
            raise ValueError("max_blocks_per_replica must be at least 1")
        self._max_blocks = max_blocks_per_replica
        self._tree = PrefixTree()
        self._shadows: dict[str, Shadow] = {}
        self._names: dict[int, str] = {}  # of replicas, by bit
        self._everyone = 0  # all bits, those of tiers too
        self.reuse = Reuse()
        self._tiers = Tiers()
        self._behind = self._tiers.behind

    def __len__(self) -> int:
        """Distinct blocks known, held or claimed."""
        return self._tree.blocks

    @property
    def tree(self) -> PrefixTree:
        """All known prompts. Read only."""
        return self._tree

    @property
    def names(self) -> Mapping[int, str]:
        """Replicas by their bits in the tree's masks. Read only."""
        return self._names

    def add(self, replica: str) -> None:
        """Makes room for a replica; does nothing if it is known."""
        if replica not in self._shadows:
            shadow = self._shadows[replica] = self._new_shadow()
            self._names[shadow.bit] = replica

    def remove(self, replica: str) -> None:
        """Forgets a replica and all that it held or was to hold; a tier is forgotten with its last replica."""
        for tier in self.tiers(replica):
            self.set_tier(replica, None, kind=tier.kind)
        shadow = self._shadows.pop(replica, None)
        if shadow is not None:
            shadow.forget()
            del self._names[shadow.bit]
            self._everyone ^= shadow.bit

    def set_tier(self, replica: str, domain: str | None, tokens: int = 0, kind: TierKind = "host") -> None:
        """From now on, this tier is behind the replica, beside those of other kinds.

        Args:
            domain: replicas that name the same one share a tier of that kind; None: there is none.
            tokens: that fit in it; for all that share it, the latest figure.

        Raises:
            ValueError: it is not positive.
        """
        if domain is not None and tokens <= 0:
            raise ValueError("a tier must have room")
        if replica not in self._shadows:
            return
        tier = None
        if domain is not None:
            tier = self._tiers.find(kind, domain) or self._tiers.add(kind, domain, self._new_shadow())
            self._tree.tiers |= tier.shadow.bit
            self._tree.remote |= tier.shadow.bit if kind == "remote" else 0
            tier.report(tokens)
        if abandoned := self._tiers.put_behind(replica, kind, tier):
            abandoned.forget()
            self._tree.tiers &= ~abandoned.bit
            self._tree.remote &= ~abandoned.bit
            self._everyone ^= abandoned.bit

    @property
    def behind(self) -> Mapping[str, tuple[Tier, ...]]:
        """The tiers behind each replica that has any, the nearest first. Read only."""
        return self._behind

    def tiers(self, replica: str) -> tuple[Tier, ...]:
        """The tiers behind a replica, the nearest first. For others to read and, of their sizes, to teach."""
        return self._behind.get(replica, ())

    def tier(self, replica: str, kind: TierKind = "host") -> Tier | None:
        """The one of that kind; None if there is none."""
        return next((tier for tier in self.tiers(replica) if tier.kind == kind), None)

    def clear(self, replica: str) -> None:
        """Forgets what a replica held. What requests in flight are computing there stays claimed, what is in its tiers
        stays there."""
        if shadow := self._shadows.get(replica):
            shadow.clear()

    def set_capacity(self, replica: str, tokens: int | None) -> None:
        """The room in the engine's KV cache; None if it is not known. What no longer fits is evicted.

        Raises:
            ValueError: it is not positive.
        """
        if tokens is not None and tokens <= 0:
            raise ValueError("a capacity must be positive")
        if shadow := self._shadows.get(replica):
            shadow.capacity = tokens
            shadow.evict()

    def claim(self, replica: str, chain: Chain, at_s: float = 0.0) -> None:
        """A request with this chain is on its way to the replica. Its blocks are pinned; others make room for them."""
        if (shadow := self._shadows.get(replica)) and chain.hashes:
            shadow.claim(chain, at_s)

    def release(self, replica: str, chain: Chain) -> None:
        """The request behind a `claim` has ended. What is held of its chain becomes most recently used."""
        if (shadow := self._shadows.get(replica)) and chain.hashes:
            shadow.release(chain)

    def store(self, replica: str, chain: Chain, at_s: float = 0.0, further_tokens: int = 0) -> None:
        """The replica has computed this chain and holds it, most recently used.

        Args:
            at_s: when; the time of its last use. The order of use is that of the calls.
            further_tokens: held behind the chain, but not to be looked up: the partial last block and the generated
                answer. They replace those behind the same chain, and are taken to be part of a longer chain that is
                stored later.
        """
        if shadow := self._shadows.get(replica):
            shadow.store(chain, at_s, further_tokens)
            if self._behind and chain.hashes:
                for tier in self.tiers(replica):
                    tier.shadow.store(chain, at_s, 0)

    def match(self, chain: Chain) -> dict[str, int]:
        """Leading prompt tokens that each replica holds or will; replicas that have none are left out."""
        ended, _ = self._walk(chain.hashes)
        return named(ended, chain.weights, self._names, ~self._tree.tiers)

    def look_up(self, chain: Chain) -> Lookup:
        """Matches a prompt against all replicas and their tiers at once, and tells what others share of it."""
        ended, path = self._walk(chain.hashes)
        weights = chain.weights
        tokens = named(ended, weights, self._names, ~self._tree.tiers)
        if not self._tree.tiers:
            return Lookup(tokens, *shared(path, chain))
        held = named(ended, weights, self._tiers.by_bit, self._tree.tiers)
        return Lookup(tokens, *shared(path, chain), self._tiers.matched(held))

    def _walk(self, hashes: tuple[int, ...]) -> tuple[list[tuple[int, int]], list[Node]]:
        """Down the tree as far as it knows the prompt: (blocks matched, bits of those that have no more), ascending;
        and the nodes passed, of which the last may go on in another way than the prompt does."""
        total = len(hashes)
        ended: list[tuple[int, int]] = []
        path: list[Node] = []
        passed = path.append
        in_order = True
        alive = self._everyone
        at = 0
        children = self._tree.root.children
        while at < total and (node := children.get(hashes[at])) is not None:
            end = node.end
            if end > total or hashes[end - 1] != node.last:
                end = at + node.shared(hashes)
                children = _NONE
            else:
                children = node.children
            if node.mask != alive:
                # Whoever has a node has its parent: those alive here are exactly those in its mask.
                ended.append((at, alive ^ node.mask))
                alive = node.mask
                if node.partial:
                    in_order = False
                    for slot, holding in node.holdings.items():
                        if node.partial >> slot & 1:
                            ended.append((min(at + holding.held, end), 1 << slot))
            passed(node)
            at = end
        ended.append((at, alive))
        if not in_order:
            ended.sort()
        return ended, path

    def trim(self, replica: str, chain: Chain, cached_tokens: int, before_s: float) -> int:
        """The engine found no more than the first tokens of this chain in its cache, for a request routed at that time.

        If the first block behind them was believed to be held and not used since, it had been evicted, and so had all
        that was to go before it: what was last used no later, by the clock and in the order of calls. Claims stay.

        Args:
            cached_tokens: in the weights of the chain, with the caller's tolerance added.

        Returns:
            Tokens no longer believed to be held; 0 if nothing can be inferred.
        """
        return _trim(self._shadows.get(replica), chain, cached_tokens, before_s)

    def trim_tier(
        self, replica: str, chain: Chain, cached_tokens: int, before_s: float, kind: TierKind = "host"
    ) -> int:
        """The same of a tier behind the replica: an engine counts as cached what it restores."""
        tier = self.tier(replica, kind)
        return _trim(tier.shadow, chain, cached_tokens, before_s) if tier else 0

    def tokens(self, replica: str) -> int:
        """Tokens that the replica is believed to hold or to be computing, further tokens included."""
        shadow = self._shadows.get(replica)
        return shadow.tokens if shadow else 0

    def held_blocks(self, replica: str) -> int:
        """Blocks that the replica is believed to hold."""
        shadow = self._shadows.get(replica)
        return shadow.held_blocks if shadow else 0

    def claimed_blocks(self, replica: str) -> int:
        """Blocks that requests in flight are computing or using on the replica."""
        shadow = self._shadows.get(replica)
        return shadow.claimed_blocks if shadow else 0

    def claimed_tokens(self, replica: str) -> int:
        """Prompt tokens that requests in flight keep from being evicted on the replica."""
        shadow = self._shadows.get(replica)
        return shadow.claimed_tokens if shadow else 0

    def room(self, replica: str) -> int | None:
        """Tokens that fit before something must be evicted; None if the capacity is not known."""
        shadow = self._shadows.get(replica)
        if shadow is None or shadow.capacity is None:
            return None
        return max(0, shadow.capacity - shadow.tokens)

    def lifetime_s(self, replica: str, now_s: float) -> float:
        """How long what is used there now may lie idle before it is evicted, if things go on as they did.

        A full cache evicts at the age of the oldest that it holds; one that took so long to fill in part will take in
        proportion to fill up.
        """
        shadow = self._shadows.get(replica)
        return shadow.lifetime_s(now_s) if shadow else math.inf

    def oldest_use_s(self, replica: str) -> float | None:
        """Last use of what would be evicted next; None if nothing can be."""
        shadow = self._shadows.get(replica)
        oldest = shadow.evictable.oldest() if shadow else None
        return oldest.used_s if oldest else None

    def _new_shadow(self) -> Shadow:
        """Of somebody new, with the lowest bit that is free."""
        free = ~self._everyone
        shadow = Shadow(self._tree, (free & -free).bit_length() - 1, self._max_blocks, self.reuse)
        self._everyone |= shadow.bit
        return shadow


def _trim(shadow: Shadow | None, chain: Chain, cached_tokens: int, before_s: float) -> int:
    block = bisect_left(list(accumulate(chain.weights, initial=0)), cached_tokens)
    if shadow is None or block >= len(chain):
        return 0
    return shadow.trim(chain, block, before_s)

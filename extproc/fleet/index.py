"""Which replica holds which leading part of which prompt.

All known prompts are one prefix tree (`fleet/tree.py`) whose nodes carry a bit mask of replicas, so a single walk down
a chain matches it against the whole fleet at once: it costs one comparison a node, however many blocks a node has. Each
replica also has a shadow of its engine's cache (`fleet/shadow.py`), which evicts what the engine would evict.

A block can be *held* (a replica that served it keeps it) or *claimed* (a request in flight will put it there). Claims
count in a match, since the engine shares a prefix between running requests, but they vanish with their request. While
they last, what they need is not evicted.

Memory: about 50 bytes a held block of conversations, 25 of long prompts, 7 where another replica holds it too; at the
default bound of 200,000 blocks 10 MB a replica. At worst, if no prompt is longer than a block, 950 bytes: 190 MB, which
only a replica whose engine has told no capacity can come near.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

from extproc.fleet.reuse import Reuse
from extproc.fleet.shadow import Shadow
from extproc.fleet.tree import PrefixTree
from extproc.prefix import Chain


class Lookup(NamedTuple):
    """What is known of a prompt.

    Args:
        tokens: leading prompt tokens that each replica holds or will; replicas that have none are left out.
        spans: of the known part, from its head: where it ends, in tokens, and how many others share it: requests in
            flight, or prompts known to continue it in another way.
        lasting: of each span and all behind it, the lasting tokens.
    """

    tokens: dict[str, int]
    spans: tuple[tuple[int, int], ...] = ()
    lasting: tuple[float, ...] = ()

    def lasting_tokens(self, matched_tokens: int, prompt_tokens: int) -> float:
        """The part that is computed anew behind a match, shared out among all who need it.

        A block that n others have in common counts 1 / (1 + n): a further copy of it will serve them, too. So what
        many prompts begin with may be computed again, and what belongs to one conversation should not.
        """
        known_tokens = self.spans[-1][0] if self.spans else 0
        unknown_tokens = max(0, prompt_tokens - max(matched_tokens, known_tokens))
        at = bisect_right(self.spans, (matched_tokens, sys.maxsize))
        if at == len(self.spans):
            return float(unknown_tokens)
        end, others = self.spans[at]
        behind = self.lasting[at + 1] if at + 1 < len(self.lasting) else 0.0
        return unknown_tokens + (end - matched_tokens) / (1 + others) + behind


class CacheIndex:
    """The caches of every replica. What is said or asked of an unknown replica changes nothing and is nothing.

    Args:
        max_blocks_per_replica: hard bound of each replica's shadow, whatever its engine says. What requests in flight
            need is in it, and is kept even if it alone exceeds it.

    Raises:
        ValueError: the bound is less than 1.
    """

    def __init__(self, max_blocks_per_replica: int) -> None:
        if max_blocks_per_replica < 1:
            raise ValueError("max_blocks_per_replica must be at least 1")
        self._max_blocks = max_blocks_per_replica
        self._tree = PrefixTree()
        self._shadows: dict[str, Shadow] = {}
        self._names: dict[int, str] = {}  # by bit
        self._everyone = 0  # all bits
        self.reuse = Reuse()

    def __len__(self) -> int:
        """Distinct blocks known, held or claimed."""
        return self._tree.blocks

    def add(self, replica: str) -> None:
        """Makes room for a replica; does nothing if it is known."""
        if replica not in self._shadows:
            free = ~self._everyone
            shadow = Shadow(self._tree, (free & -free).bit_length() - 1, self._max_blocks, self.reuse)
            self._shadows[replica] = shadow
            self._names[shadow.bit] = replica
            self._everyone |= shadow.bit

    def remove(self, replica: str) -> None:
        """Forgets a replica and all that it held or was to hold."""
        shadow = self._shadows.pop(replica, None)
        if shadow is not None:
            shadow.forget()
            del self._names[shadow.bit]
            self._everyone ^= shadow.bit

    def clear(self, replica: str) -> None:
        """Forgets what a replica held. What requests in flight are computing there stays claimed."""
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

    def match(self, chain: Chain) -> dict[str, int]:
        """Leading prompt tokens that each replica holds or will; replicas that have none are left out."""
        return self.look_up(chain).tokens

    def look_up(self, chain: Chain) -> Lookup:
        """Matches a prompt against all replicas at once."""
        hashes, weights = chain.hashes, chain.weights
        total = len(hashes)
        ended: list[tuple[int, int]] = []  # (blocks matched, replicas that have no more)
        path: list[tuple[int, int, int]] = []  # (blocks, requests in flight, continuations other than ours)
        in_order = True
        alive = self._everyone
        at = 0
        children = self._tree.root.children
        while at < total:
            node = children.get(hashes[at])
            if node is None:
                break
            end = node.end
            departs = end > total or hashes[end - 1] != node.last
            if departs:
                end = at + node.shared(hashes)
            if node.mask != alive:
                # Whoever has a node has its parent: those alive here are exactly those in its mask.
                ended.append((at, alive ^ node.mask))
                alive = node.mask
                if node.partial:
                    in_order = False
                    for slot, holding in node.holdings.items():
                        if node.partial >> slot & 1:
                            ended.append((min(at + holding.held, end), 1 << slot))
            at = end
            if departs:
                path.append((end, node.claims, max(1, len(node.children))))
                break
            path.append((end, node.claims, len(node.children) - (end < total and hashes[end] in node.children)))
            children = node.children
        ended.append((at, alive))
        if not in_order:
            ended.sort()
        return Lookup(self._named(ended, weights), *_shared(path, weights))

    def _named(self, ended: list[tuple[int, int]], weights: tuple[int, ...]) -> dict[str, int]:
        """Tokens by replica, from blocks in ascending order; what comes later holds."""
        names = self._names
        found: dict[str, int] = {}
        tokens = counted = 0
        for blocks, mask in ended:
            tokens += sum(weights[counted:blocks])
            counted = blocks
            if tokens:
                while mask:
                    bit = mask & -mask
                    found[names[bit]] = tokens
                    mask ^= bit
        return found

    def trim(self, replica: str, chain: Chain, cached_tokens: int, before_s: float) -> int:
        """The engine found no more than the first tokens of this chain in its cache, for a request routed at that time.

        If the first block behind them was believed to be held and not used since, it had been evicted, and so had all
        that was to go before it: what was last used no later, by the clock and in the order of calls. Claims stay.

        Args:
            cached_tokens: in the weights of the chain, with the caller's tolerance added.

        Returns:
            Tokens no longer believed to be held; 0 if nothing can be inferred.
        """
        shadow = self._shadows.get(replica)
        block = bisect_left(list(accumulate(chain.weights, initial=0)), cached_tokens)
        if shadow is None or block >= len(chain):
            return 0
        return shadow.trim(chain, block, before_s)

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
        oldest = shadow.evictable.oldest() if shadow else None
        if shadow is None or shadow.capacity is None or oldest is None:
            return math.inf
        return max(0.0, now_s - oldest.used_s) * max(1.0, shadow.capacity / max(1, shadow.tokens))

    def oldest_use_s(self, replica: str) -> float | None:
        """Last use of what would be evicted next; None if nothing can be."""
        shadow = self._shadows.get(replica)
        oldest = shadow.evictable.oldest() if shadow else None
        return oldest.used_s if oldest else None


def _shared(
    path: list[tuple[int, int, int]], weights: tuple[int, ...]
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """The nodes of a path -> `spans` and `lasting` of a look-up."""
    if not path:
        return (), ()
    tokens = list(accumulate(weights[: path[-1][0]], initial=0))
    spans: list[tuple[int, int]] = []
    lasting: list[float] = []
    others, behind = 0, 0.0
    for place in range(len(path) - 1, -1, -1):
        end, claims, branches = path[place]
        start = path[place - 1][0] if place else 0
        others += branches
        sharers = claims if claims > others else others
        behind += (tokens[end] - tokens[start]) / (1 + sharers)
        spans.append((tokens[end], sharers))
        lasting.append(behind)
    spans.reverse()
    lasting.reverse()
    return tuple(spans), tuple(lasting)

"""Which replica holds which block of which prompt.

One dictionary maps a block hash to a bit mask of replicas, so a single walk down a chain matches it against the whole
fleet at once: it costs one look-up a block and stops at the first block that nobody has. Each replica also has a shadow
of its engine's cache: blocks in the order in which the engine would evict them, bounded in number.

A block can be *held* (a replica that served it keeps it) or *claimed* (a request in flight will put it there). Claims
count in a match, since the engine shares a prefix between running requests, but they vanish with their request.

Memory: about 230 bytes a held block (120 where another replica holds it too), so at most 46 MB a replica at the default
bound of 200,000 blocks.
"""

from __future__ import annotations

from collections import OrderedDict

from extproc.prefix import Chain


class CacheIndex:
    """The blocks of every replica.

    Args:
        max_blocks_per_replica: bound of each replica's shadow; the least recently used block goes first.
    """

    def __init__(self, max_blocks_per_replica: int) -> None:
        if max_blocks_per_replica < 1:
            raise ValueError("max_blocks_per_replica must be at least 1")
        self._max_blocks = max_blocks_per_replica
        self._masks: dict[int, int] = {}
        self._shadows: dict[str, _Shadow] = {}

    def __len__(self) -> int:
        """Distinct blocks known, held or claimed."""
        return len(self._masks)

    def add(self, replica: str) -> None:
        """Makes room for a replica; does nothing if it is known."""
        if replica not in self._shadows:
            taken = {shadow.bit for shadow in self._shadows.values()}
            slot = next(slot for slot in range(len(taken) + 1) if 1 << slot not in taken)
            self._shadows[replica] = _Shadow(1 << slot)

    def remove(self, replica: str) -> None:
        """Forgets a replica and all that it held or was to hold."""
        shadow = self._shadows.pop(replica, None)
        if shadow is not None:
            for block in shadow.held.keys() | shadow.claims.keys():
                self._unmark(block, shadow.bit)

    def clear(self, replica: str) -> None:
        """Forgets what a replica held. What requests in flight are computing there stays claimed."""
        shadow = self._shadows.get(replica)
        if shadow is not None:
            for block, tokens in shadow.held.items():
                if block not in shadow.claims:
                    self._drop(shadow, block, tokens)
            shadow.held.clear()

    def claim(self, replica: str, chain: Chain) -> None:
        """A request with this chain is on its way to the replica."""
        shadow = self._shadows.get(replica)
        if shadow is None:
            return
        claims, held, masks, bit = shadow.claims, shadow.held, self._masks, shadow.bit
        for block, tokens in zip(chain.hashes, chain.weights, strict=True):
            count = claims.get(block, 0)
            if not count and block not in held:
                masks[block] = masks.get(block, 0) | bit
                shadow.tokens += tokens
            claims[block] = count + 1

    def release(self, replica: str, chain: Chain) -> None:
        """The request behind a `claim` has ended."""
        shadow = self._shadows.get(replica)
        if shadow is None:
            return
        claims, held = shadow.claims, shadow.held
        for block, tokens in zip(chain.hashes, chain.weights, strict=True):
            count = claims.get(block, 0)
            if count > 1:
                claims[block] = count - 1
            elif count == 1:
                del claims[block]
                if block not in held:
                    self._drop(shadow, block, tokens)

    def store(self, replica: str, chain: Chain) -> None:
        """The replica has computed this chain and holds it, most recently used.

        The tail is filed before the head: engines evict the end of a prompt before its beginning.
        """
        shadow = self._shadows.get(replica)
        if shadow is None:
            return
        held, claims, masks, bit = shadow.held, shadow.claims, self._masks, shadow.bit
        for block, tokens in zip(reversed(chain.hashes), reversed(chain.weights), strict=True):
            if block in held:
                held.move_to_end(block)
                continue
            held[block] = tokens
            if block not in claims:
                masks[block] = masks.get(block, 0) | bit
                shadow.tokens += tokens
        while len(held) > self._max_blocks:
            block, tokens = held.popitem(last=False)
            if block not in claims:
                self._drop(shadow, block, tokens)

    def match(self, chain: Chain) -> dict[str, int]:
        """Leading prompt tokens that each replica holds or will; replicas that have none are left out."""
        masks = self._masks
        ended: list[tuple[int, int]] = []  # (mask of replicas, blocks matched)
        alive = -1
        blocks = 0
        for block in chain.hashes:
            still = alive & masks.get(block, 0)
            if still != alive:
                if blocks:
                    ended.append((alive ^ still, blocks))
                alive = still
                if not alive:
                    break
            blocks += 1
        if alive > 0:
            ended.append((alive, blocks))
        spans = [(mask, sum(chain.weights[:blocks])) for mask, blocks in ended]
        return {name: tokens for name, shadow in self._shadows.items() for mask, tokens in spans if shadow.bit & mask}

    def tokens(self, replica: str) -> int:
        """Tokens that the replica is believed to hold or to be computing."""
        shadow = self._shadows.get(replica)
        return shadow.tokens if shadow else 0

    def held_blocks(self, replica: str) -> int:
        """Blocks that the replica is believed to hold."""
        shadow = self._shadows.get(replica)
        return len(shadow.held) if shadow else 0

    def claimed_blocks(self, replica: str) -> int:
        """Blocks that requests in flight are computing or using on the replica."""
        shadow = self._shadows.get(replica)
        return len(shadow.claims) if shadow else 0

    def _drop(self, shadow: _Shadow, block: int, tokens: int) -> None:
        """The block is neither held nor claimed any more."""
        shadow.tokens -= tokens
        self._unmark(block, shadow.bit)

    def _unmark(self, block: int, bit: int) -> None:
        mask = self._masks[block] & ~bit
        if mask:
            self._masks[block] = mask
        else:
            del self._masks[block]


class _Shadow:
    """What one replica's engine holds, as far as can be told from outside."""

    __slots__ = ("bit", "claims", "held", "tokens")

    def __init__(self, bit: int) -> None:
        self.bit = bit
        self.held: OrderedDict[int, int] = OrderedDict()  # block -> its tokens, next to be evicted first
        self.claims: dict[int, int] = {}  # block -> requests in flight
        self.tokens = 0  # of all blocks held or claimed

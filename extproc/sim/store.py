"""What keeps KV blocks behind the caches of engines: memory of one's host, or a remote store that all share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

Hashes = Sequence[int]
"""Names of blocks, in the order of a chain."""


class BlockStore:
    """Blocks by content, a fixed number of them; least recently used goes first.

    Args:
        blocks: 0 keeps nothing.
    """

    __slots__ = ("_blocks", "_kept")

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._kept: OrderedDict[int, None] = OrderedDict()

    def prefix(self, hashes: Hashes, start: int, limit: int) -> int:
        """How many hashes of a chain from `start` on, up to `limit`, follow each other here."""
        kept = self._kept
        at = start
        while at < limit and at < len(hashes) and hashes[at] in kept:
            at += 1
        return at - start

    def use(self, hashes: Hashes) -> None:
        """These are being restored: most recently used now, a chain's beginning after its end."""
        for block_hash in reversed(hashes):
            self._kept.move_to_end(block_hash)

    def keep(self, hashes: Iterable[int]) -> None:
        """Most recently used now, in the order given."""
        if not self._blocks:
            return
        kept = self._kept
        for block_hash in hashes:
            kept[block_hash] = None
            kept.move_to_end(block_hash)
            if len(kept) > self._blocks:
                kept.popitem(last=False)

    def clear(self) -> None:
        self._kept.clear()

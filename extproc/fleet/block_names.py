"""One replica's names for its blocks in one medium: engine hash -> the gateway's key."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.fleet.block_layer import Layer
from extproc.fleet.kv_events import BlockHash

_REMEMBERED = 8_192
"""So many removed blocks are remembered, or up to twice as many: what is stored behind them later can be placed. A host
tier stores the tail of a prompt whose head it has evicted."""


class BlockNames:
    """What a replica's hashes stand for, and how often it holds each.

    A hash without a key names a block that cannot be placed: what it continues was never heard of. It is remembered
    so that its removal is no surprise, and so are those stored behind it.

    Args:
        layer: is told what is held.
        bit: of the replica in the layer's masks.
        block_size: tokens in a block.
        group: of whose blocks this is told; see `BlocksStored`.
    """

    __slots__ = ("_aliases", "_gone", "_keys", "_long_gone", "_more", "bit", "block_size", "group", "layer", "unplaced")

    def __init__(self, layer: Layer, bit: int, block_size: int, group: int | None) -> None:
        self.layer = layer
        self.bit = bit
        self.block_size = block_size
        self.group = group
        self.unplaced = 0
        self._keys: dict[BlockHash, int | None] = {}
        self._more: dict[BlockHash, int] = {}  # copies beyond the first
        self._aliases: dict[int, int] = {}  # hashes beyond the first that stand for one key
        self._gone: dict[BlockHash, int] = {}
        self._long_gone: dict[BlockHash, int] = {}
        layer.members |= bit

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def held(self) -> int:
        """Hashes that have a key."""
        return len(self._keys) - self.unplaced

    def __iter__(self) -> Iterator[int]:
        return (key for key in self._keys.values() if key is not None)

    def key_of(self, block: BlockHash) -> int | None:
        """The key of a block that is held or was until lately; None if it cannot be placed."""
        for known in (self._keys, self._gone, self._long_gone):
            if (key := known.get(block)) is not None:
                return key
        return None

    def knows(self, block: BlockHash) -> bool:
        """Whether a copy of the block is held, placed or not."""
        return block in self._keys

    def store(self, block: BlockHash, key: int | None) -> None:
        """One more copy.

        Args:
            key: None if the block cannot be placed. One that could not be before can be now.
        """
        keys = self._keys
        if block not in keys:
            keys[block] = key
            if key is None:
                self.unplaced += 1
            elif not self.layer.hold(key, self.bit):
                self._aliases[key] = self._aliases.get(key, 0) + 1
            return
        self._more[block] = self._more.get(block, 0) + 1
        if key is not None and keys[block] is None:
            keys[block] = key
            self.unplaced -= 1
            if not self.layer.hold(key, self.bit):
                self._aliases[key] = self._aliases.get(key, 0) + 1

    def remove(self, block: BlockHash) -> bool:
        """One copy less.

        Returns:
            Whether there was one.
        """
        if self._more and (more := self._more.get(block)):
            if more > 1:
                self._more[block] = more - 1
            else:
                del self._more[block]
            return True
        if block not in self._keys:
            return False
        key = self._keys.pop(block)
        if key is None:
            self.unplaced -= 1
            return True
        if self._aliases and (aliases := self._aliases.get(key)):
            if aliases > 1:
                self._aliases[key] = aliases - 1
            else:
                del self._aliases[key]
        else:
            self.layer.drop(key, self.bit)
        self._gone[block] = key
        if len(self._gone) >= _REMEMBERED:
            self._long_gone, self._gone = self._gone, {}
        return True

    def clear(self) -> None:
        """Nothing is held any more."""
        drop, bit = self.layer.drop, self.bit
        for key in self:
            drop(key, bit)
        self._keys.clear()
        self._more.clear()
        self._aliases.clear()
        self._gone.clear()
        self._long_gone = {}
        self.unplaced = 0

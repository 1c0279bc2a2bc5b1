"""Who holds which block: one layer is all blocks of one size in one medium, over the whole fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Layer:
    """Keys of blocks, and for each a bit mask of the replicas that have it.

    What requests in flight are computing counts like what is held, and neither undoes the other.

    Attributes:
        members: bits of all replicas that may have blocks here.
    """

    __slots__ = ("_claimed", "_masks", "_promised", "members")

    def __init__(self) -> None:
        self._masks: dict[int, int] = {}  # held or claimed
        self._claimed: dict[int, int] = {}
        self._promised: dict[int, int] = {}  # claimed and not held
        self.members = 0

    def hold(self, key: int, bit: int) -> bool:
        """A replica holds the block.

        Returns:
            Whether it did not already.
        """
        mask = self._masks.get(key, 0)
        if not mask & bit:
            self._masks[key] = mask | bit
            return True
        if self._promised.get(key, 0) & bit:
            _clear(self._promised, key, bit)
            return True
        return False

    def drop(self, key: int, bit: int) -> None:
        """A replica holds the block no more."""
        if self._claimed and self._claimed.get(key, 0) & bit:
            self._promised[key] = self._promised.get(key, 0) | bit
        else:
            _clear(self._masks, key, bit)

    def claim(self, key: int, bit: int) -> None:
        """A request in flight will have a replica hold the block."""
        self._claimed[key] = self._claimed.get(key, 0) | bit
        mask = self._masks.get(key, 0)
        if not mask & bit:
            self._masks[key] = mask | bit
            self._promised[key] = self._promised.get(key, 0) | bit

    def release(self, key: int, bit: int) -> None:
        """No request in flight does so any more."""
        _clear(self._claimed, key, bit)
        if self._promised.get(key, 0) & bit:
            _clear(self._promised, key, bit)
            _clear(self._masks, key, bit)

    def promised(self, key: int, bit: int) -> bool:
        """Whether a request claims the block and nobody has said that the replica holds it."""
        return bool(self._promised.get(key, 0) & bit)

    def walk(self, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Leading blocks of a prompt: (blocks, bits of the replicas that have just so many), ascending; none at 0."""
        mask_of = self._masks.get
        alive = self.members
        ended: list[tuple[int, int]] = []
        for blocks, key in enumerate(keys):
            mask = mask_of(key, 0)
            if mask == alive:
                continue
            mask &= alive
            if mask == alive:
                continue
            if blocks:
                ended.append((blocks, alive ^ mask))
            alive = mask
            if not alive:
                return ended
        if keys and alive:
            ended.append((len(keys), alive))
        return ended

    def walk_shared(self, keys: Sequence[int], groups: Iterable[int]) -> list[tuple[int, int]]:
        """The same for groups of replicas, given as masks: what one of a group holds is there for all of it."""
        mask_of = self._masks.get
        alive = [group for group in groups if group]
        ended: list[tuple[int, int]] = []
        seen = -1
        for blocks, key in enumerate(keys):
            mask = mask_of(key, 0)
            if mask != seen:
                seen = mask
                if blocks:
                    ended += [(blocks, group) for group in alive if not group & mask]
                alive = [group for group in alive if group & mask]
                if not alive:
                    return ended
        return ended + [(len(keys), group) for group in alive if keys]


def _clear(masks: dict[int, int], key: int, bit: int) -> None:
    mask = masks.get(key, 0)
    if mask == bit:
        del masks[key]
    elif mask & bit:
        masks[key] = mask ^ bit

"""Under which cache salts a prompt in LMCache was stored.

LMCache keeps prompts of different salts apart, but its events do not name the salt, and tell of what several have in
common only once. The engine stores each prompt in its own cache too, and says so with the salt: how a prompt begins
tells under which salts it can be found at all, and where those are several, which of its blocks an engine ever stored
under a salt tells how far.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

from xxhash import xxh3_64_intdigest

from extproc.fleet.image_runs import images_of_block
from extproc.fleet.kv_events import BlocksStored
from extproc.fleet.lmcache_ids import image_ids

_UNSALTED = frozenset({""})
_NONE: frozenset[str] = frozenset()
_MOST_SALTS = 64
_MOST_SIZES = 8
_MOST_BLOCKS_UNNEEDED = 16_384


class SaltedRoots:
    """Salts by the first block of a prompt, in LMCache's ids.

    Args:
        most_roots: beginnings remembered, some 200 bytes each; the one stored longest ago is forgotten first. Of one
            beginning, no more than 64 salts are known.
        most_blocks: keys of stored blocks remembered, some 100 bytes each; of more, at least the latest half. Far fewer
            before anything was heard of LMCache.

    Attributes:
        needed: whether LMCache was heard of.
    """

    def __init__(self, most_roots: int = 65_536, most_blocks: int = 500_000) -> None:
        self._most_roots = most_roots
        self._most_blocks = most_blocks
        self._salts: OrderedDict[int, frozenset[str]] = OrderedDict()
        self._sizes: dict[int, None] = {}
        self._blocks: set[int] = set()
        self._older_blocks: set[int] = set()
        self._any = False
        self.needed = False

    def note(self, stored: BlocksStored) -> None:
        """An engine stored the beginning of a prompt in its own cache."""
        extra = stored.extra_keys[0] if stored.extra_keys else None
        ids = stored.token_ids[: stored.block_size]
        for identifier, offset, end in images_of_block(ids, extra or ()):
            ids[max(offset, 0) : end] = image_ids(identifier, end - offset)[max(-offset, 0) :]
        root, salt = _digest(ids), _salt(extra, stored.lora_name)
        self._any |= bool(salt)
        self._sizes[stored.block_size] = None
        if len(self._sizes) > _MOST_SIZES:
            del self._sizes[next(iter(self._sizes))]
        known = self._salts.get(root, _NONE)
        if salt not in known and len(known) < _MOST_SALTS:
            known = known | {salt} if known or salt else _UNSALTED
        self._salts[root] = known
        self._salts.move_to_end(root)
        if len(self._salts) > self._most_roots:
            self._salts.popitem(last=False)

    def stored(self, key: int) -> None:
        """An engine stored the block of this key, which the salt is part of, in its own cache."""
        self._blocks.add(key)
        most = self._most_blocks if self.needed else _MOST_BLOCKS_UNNEEDED
        if len(self._blocks) * 2 >= most:
            self._older_blocks, self._blocks = self._blocks, set()

    def reach(self, ids: array[int], salt: str, keys: Callable[[int], Sequence[int]]) -> int | None:
        """Leading tokens of a prompt that may be there under its salt; None: all of them.

        Args:
            ids: of the prompt, as LMCache has them.
            keys: gives the keys of the prompt itself for a block size.
        """
        if not self._any:
            return 0 if salt else None
        known = {size: self._salts.get(_digest(ids[:size]), _NONE) for size in self._sizes if size <= len(ids)}
        salts = _NONE.union(*known.values())
        if salt not in salts:
            return 0 if salts or salt else None
        return None if len(salts) == 1 else max(self._leading(keys(size)) * size for size in known)

    def _leading(self, keys: Sequence[int]) -> int:
        for number, key in enumerate(keys):
            if key not in self._blocks and key not in self._older_blocks:
                return number
        return len(keys)


def _digest(ids: array[int]) -> int:
    return xxh3_64_intdigest(ids.tobytes(), len(ids))


def _salt(extra: list[object] | None, lora: str | None) -> str:
    """Among a first block's extra keys, behind the adapter's name."""
    words = [key for key in extra or () if isinstance(key, str)]
    words = words[1:] if lora and words[:1] == [lora] else words
    return words[0] if words else ""

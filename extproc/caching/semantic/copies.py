"""Places of a Redis that cannot search vectors, copied to this instance without the answers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import lua
from .embedders import Vector
from .entries import Entry, Near, Place
from .memory import Matrix
from .records import Scripts, entry_of

_AT_ONCE = 500
"""Changed entries that one round trip brings: 2,000 of 1.5 kB would take longer than a call may."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A place as the latest call found it: its name in keys, and a number that grows with each change."""

    name: bytes
    version: int


@dataclass(slots=True)
class _Copy:
    """What is known here of a place."""

    version: int = 0
    matrix: Matrix = field(default_factory=Matrix)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def put(self, entry: Entry) -> None:
        self.drop(entry.key)
        self.entries[entry.key] = entry
        if entry.vector is not None:
            self.matrix.put(entry.key, entry.vector)

    def drop(self, key: bytes) -> None:
        self.matrix.drop(key)
        self.entries.pop(key, None)


class Copies:
    """A copy per place that is looked into; the least recently used make room.

    Args:
        max_entries: of all copies together; the latest is kept whole.
    """

    def __init__(self, scripts: Scripts, max_entries: int) -> None:
        self._scripts = scripts
        self._max_entries = max_entries
        self._copies: OrderedDict[bytes, _Copy] = OrderedDict()

    def __len__(self) -> int:
        """Entries held."""
        return sum(len(copy.entries) for copy in self._copies.values())

    async def nearest(self, place: Place, seen: Seen, vector: Vector, count: int) -> Sequence[Near]:
        """The entries most alike, after the copy took in what changed.

        Raises:
            StoreDown: Redis cannot be asked.
        """
        copy = self._copies.setdefault(seen.name, _Copy())
        self._copies.move_to_end(seen.name)
        async with copy.refreshing:
            while copy.version < seen.version:
                if not await self._refresh(place, copy):
                    break
        self._make_room()
        return [Near(copy.entries[key], similarity) for key, similarity in copy.matrix.nearest(vector, count)]

    def drop(self, name: bytes, key: bytes) -> None:
        """An entry turned out to be gone."""
        copy = self._copies.get(name)
        if copy:
            copy.drop(key)

    def clear(self) -> None:
        self._copies.clear()

    async def _refresh(self, place: Place, copy: _Copy) -> bool:
        """Takes in some of what changed; whether anything did."""
        too_old, live, dropped = await self._scripts.run(lua.CHANGES, place, copy.version, _AT_ONCE)
        if too_old:
            copy.version, copy.matrix, copy.entries = 0, Matrix(), {}
            return True
        for key, _, question, vector, learned in live:
            entry = entry_of(key, question, vector, learned) if question is not None else None
            if entry is not None:
                copy.put(entry)
            await asyncio.sleep(0)
        for key, _ in dropped:
            copy.drop(bytes.fromhex(key.decode()))
        copy.version = max([copy.version, *(int(row[1]) for row in (*live, *dropped))])
        return bool(live or dropped)

    def _make_room(self) -> None:
        held = len(self)
        while len(self._copies) > 1 and (held > self._max_entries or len(self._copies) > self._max_entries):
            _, dropped = self._copies.popitem(last=False)
            held -= len(dropped.entries)

"""Entries in Redis, shared by instances. Each keeps a copy of the places it looks into, without the answers.

Keys, under a prefix, with <place> for ``semantic:<flushes>:<flushes of the holder>:<scope>``: ``<place>`` the entries
and ``v``, a number that grows with each change; ``<place>:a`` the answers; ``<place>:o`` what was learned;
``<place>:z`` when each changed last, as a ``v``; ``<place>:x`` when each expires; ``semantic:used`` when each of all
places was used. The numbers of flushes are those of the exact cache: one flush forgets both.

A look-up is one round trip, which also tells whether the copy is of date; if not, a second one brings what changed.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3

from extproc.redis_link import RedisLink, StoreDown

from . import lua
from .bound import MAX_OBSERVATIONS, Observation
from .embedders import Vector
from .entries import Entry, Near, Place
from .memory import Matrix

_OBSERVATION = struct.Struct("<fB")
_AT_ONCE = 500
"""Changed entries that one round trip brings: 2,000 of 1.5 kB would take longer than a call may."""


@dataclass(slots=True)
class _Copy:
    """What is known here of a place."""

    version: int = 0
    matrix: Matrix = field(default_factory=Matrix)
    entries: dict[bytes, Entry] = field(default_factory=dict)


class RedisEntries:
    """Entries that every instance finds. The least recently used of all makes room.

    Args:
        prefix: of all keys, as the exact cache has it.
        max_entries: over all places, in Redis and in the copy here.
    """

    def __init__(self, link: RedisLink, *, prefix: str = "kvgate:", max_entries: int = 2000) -> None:
        self._link = link
        self._prefix = prefix.encode()
        self._max_entries = max_entries
        self._copies: OrderedDict[tuple[bytes, bytes], _Copy] = OrderedDict()
        self._places: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()

    async def answer(self, place: Place, key: bytes) -> bytes | None:
        try:
            base, version, answer = await self._eval(lua.ANSWER, place, key)
        except StoreDown:
            self._places.pop(place.scope, None)
            return None
        self._places[place.scope] = (base, int(version))
        self._places.move_to_end(place.scope)
        while len(self._places) > self._max_entries:
            self._places.popitem(last=False)
        if answer is None:
            copy = self._copies.get((place.scope, base))
            if copy:
                copy.matrix.drop(key)
                copy.entries.pop(key, None)
        return bytes(answer) if answer is not None else None

    async def nearest(self, place: Place, vector: Vector, count: int) -> Sequence[Near]:
        seen = self._places.get(place.scope)
        if seen is None:
            return ()
        copy = self._copies.setdefault((place.scope, seen[0]), _Copy())
        self._copies.move_to_end((place.scope, seen[0]))
        try:
            while copy.version < seen[1]:
                if not await self._refresh(place, copy):
                    break
        except StoreDown:
            return ()
        self._make_room()
        return [Near(copy.entries[key], similarity) for key, similarity in copy.matrix.nearest(vector, count)]

    async def put(self, place: Place, entry: Entry, answer: bytes, ttl_s: float) -> None:
        vector = b"" if entry.vector is None else entry.vector.astype("<f4").tobytes()
        blob = msgspec.msgpack.encode((entry.question.encode("utf-8", "surrogatepass"), vector))
        try:
            await self._eval(lua.PUT, place, entry.key, blob, answer, max(1, round(ttl_s * 1000)), self._max_entries)
        except StoreDown:
            return

    async def observe(self, place: Place, key: bytes, seen: Observation) -> None:
        packed = _OBSERVATION.pack(seen.similarity, seen.same)
        try:
            await self._eval(lua.OBSERVE, place, key, packed, MAX_OBSERVATIONS * _OBSERVATION.size)
        except StoreDown:
            return

    async def flush(self, holder: str | None) -> None:
        name = b"flushes" if holder is None else b"flushes:" + _short(holder)
        await self._link.run(lambda redis: redis.incr(self._prefix + name))

    async def _refresh(self, place: Place, copy: _Copy) -> bool:
        """Takes in what changed; whether anything did."""
        changed = await self._eval(lua.CHANGES, place, copy.version, _AT_ONCE)
        for key, version, blob, observations in changed:
            copy.version = max(copy.version, int(version))
            entry = _entry(key, blob, observations)
            if entry is not None:
                copy.entries[key] = entry
                if entry.vector is not None:
                    copy.matrix.put(key, entry.vector)
            await asyncio.sleep(0)
        return bool(changed)

    def _make_room(self) -> None:
        held = sum(len(copy.entries) for copy in self._copies.values())
        while len(self._copies) > 1 and (held > self._max_entries or len(self._copies) > self._max_entries):
            _, dropped = self._copies.popitem(last=False)
            held -= len(dropped.entries)

    async def _eval(self, script: str, place: Place, *arguments: bytes | int) -> Any:
        names = (self._prefix, _short(place.holder), place.scope.hex().encode())
        return await self._link.run(lambda redis: redis.eval(script, 0, *names, *arguments))


def _short(holder: str) -> bytes:
    return blake3(holder.encode("utf-8", "surrogatepass")).hexdigest()[:32].encode()


def _entry(key: bytes, blob: bytes | None, observations: bytes | None) -> Entry | None:
    if blob is None:
        return None
    try:
        question, vector = msgspec.msgpack.decode(blob, type=tuple[bytes, bytes])
        seen = tuple([Observation(similarity, bool(same)) for similarity, same in _unpacked(observations or b"")])
        values = np.frombuffer(vector, "<f4").astype(np.float32) if vector else None
        entry = Entry(key, question.decode("utf-8", "surrogatepass"), values)
    except (msgspec.DecodeError, ValueError, struct.error):
        return None
    return replace(entry, observations=seen)


def _unpacked(packed: bytes) -> list[tuple[float, int]]:
    return [(similarity, same) for similarity, same in _OBSERVATION.iter_unpack(packed)]

"""Entries of this process: a matrix of vectors per place, bounded over all places."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from extproc.clock import Clock

from .bound import MAX_OBSERVATIONS, Observation
from .embedders import Vector
from .entries import Entry, Near, Place


@dataclass(slots=True)
class _Held:
    place: Place
    entry: Entry
    answer: bytes
    until_s: float


class MemoryEntries:
    """The least recently used entry makes room.

    Args:
        max_entries: over all places.
        max_bytes: of all answers and vectors together.
    """

    def __init__(self, clock: Clock, *, max_entries: int = 2000, max_bytes: int = 64 << 20) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[bytes, bytes], _Held] = OrderedDict()
        self._places: dict[bytes, Matrix] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    async def answer(self, place: Place, key: bytes) -> bytes | None:
        held = self._live(place, key)
        if held is None:
            return None
        self._held.move_to_end((place.scope, key))
        return held.answer

    async def nearest(self, place: Place, vector: Vector, count: int) -> Sequence[Near]:
        matrix = self._places.get(place.scope)
        found = matrix.nearest(vector, count) if matrix else ()
        live = ((self._live(place, key), similarity) for key, similarity in found)
        return [Near(held.entry, similarity) for held, similarity in live if held]

    async def put(self, place: Place, entry: Entry, answer: bytes, ttl_s: float) -> None:
        size = _size(entry, answer)
        if size > self._max_bytes:
            return
        old = self._held.get((place.scope, entry.key))
        if old is not None:
            entry = replace(entry, observations=old.entry.observations)
            self._drop(old)
        self._held[(place.scope, entry.key)] = _Held(place, entry, answer, self._clock.now() + ttl_s)
        self.held_bytes += size
        if entry.vector is not None:
            self._places.setdefault(place.scope, Matrix()).put(entry.key, entry.vector)
        while len(self._held) > self._max_entries or self.held_bytes > self._max_bytes:
            self._drop(next(iter(self._held.values())))

    async def observe(self, place: Place, key: bytes, seen: Observation) -> None:
        held = self._live(place, key)
        if held is not None:
            kept = (*held.entry.observations, seen)[-MAX_OBSERVATIONS:]
            held.entry = replace(held.entry, observations=kept)

    async def flush(self, holder: str | None) -> None:
        for held in list(self._held.values()):
            if holder is None or held.place.holder == holder:
                self._drop(held)

    def _live(self, place: Place, key: bytes) -> _Held | None:
        held = self._held.get((place.scope, key))
        if held is not None and held.until_s <= self._clock.now():
            self._drop(held)
            return None
        return held

    def _drop(self, held: _Held) -> None:
        scope, key = held.place.scope, held.entry.key
        del self._held[(scope, key)]
        self.held_bytes -= _size(held.entry, held.answer)
        matrix = self._places.get(scope)
        if matrix is not None:
            matrix.drop(key)
            if not len(matrix):
                del self._places[scope]


class Matrix:
    """Vectors of one length by key. A look-up among 2,000 of 512 dimensions takes about 0.2 ms."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._rows: dict[bytes, int] = {}
        self._vectors = np.empty((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, key: bytes, vector: Vector) -> None:
        if self._vectors.shape[1] != len(vector):  # another model came: what the old one wrote is of no use
            self._keys, self._rows = [], {}
            self._vectors = np.empty((8, len(vector)), np.float32)
        row = self._rows.setdefault(key, len(self._keys))
        if row == len(self._keys):
            self._keys.append(key)
            if row == len(self._vectors):
                self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._vectors[row] = vector

    def drop(self, key: bytes) -> None:
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            self._keys[row] = last
            self._rows[last] = row
            self._vectors[row] = self._vectors[len(self._keys)]

    def nearest(self, vector: Vector, count: int) -> list[tuple[bytes, float]]:
        if not self._keys or self._vectors.shape[1] != len(vector):
            return []
        # Not `@`: BLAS would start threads, which on a busy machine cost more than the product.
        similarities = np.einsum("ij,j->i", self._vectors[: len(self._keys)], vector)
        count = min(count, len(similarities))
        best = np.argpartition(-similarities, count - 1)[:count]
        return [(self._keys[row], float(similarities[row])) for row in best[np.argsort(-similarities[best])]]


def _size(entry: Entry, answer: bytes) -> int:
    return len(answer) + 4 * len(entry.question) + (0 if entry.vector is None else entry.vector.nbytes) + 512

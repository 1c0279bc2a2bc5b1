"""Answers in this process: bounded in bytes, the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from extproc.clock import Clock

from .answer import Answer
from .store import Epoch, Found, StoreStats

_OVERHEAD_BYTES = 700
"""Of an entry besides its body: objects, key and three tables; measured with tracemalloc."""


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    scope: str
    expires_s: float

    @property
    def size_bytes(self) -> int:
        return len(self.answer.body) + _OVERHEAD_BYTES


class MemoryStore:
    """An AnswerStore for one instance.

    Args:
        max_bytes: for all entries together, with what Python needs for them.
        max_answer_bytes: a larger answer is not stored.
    """

    def __init__(self, clock: Clock, *, max_bytes: int = 256 << 20, max_answer_bytes: int = 1 << 20) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_answer_bytes = min(max_answer_bytes, max_bytes - _OVERHEAD_BYTES)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._keys_of: dict[str, set[bytes]] = {}
        self._flushes: dict[str, int] = {}
        self._all_flushes = 0
        self._held_bytes = 0
        self._hits = self._misses = self._stored = self._evicted = self._dropped = 0

    async def get(self, key: bytes, scope: str) -> Found:
        entry = self._entries.get(key)
        if entry is not None and entry.expires_s <= self._clock.now():
            self._remove(key)
            entry = None
        epoch = self._epoch(scope)
        if entry is None:
            self._misses += 1
            return Found(None, epoch)
        self._hits += 1
        self._entries.move_to_end(key)
        return Found(entry.answer, epoch)

    def put(self, key: bytes, scope: str, answer: Answer, ttl_s: float, epoch: Epoch) -> None:
        if epoch != self._epoch(scope):
            return
        if len(answer.body) > self._max_answer_bytes:
            self._dropped += 1
            return
        self._remove(key)
        entry = _Entry(answer, scope, self._clock.now() + ttl_s)
        self._entries[key] = entry
        self._keys_of.setdefault(scope, set()).add(key)
        self._held_bytes += entry.size_bytes
        self._stored += 1
        while self._held_bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self._evicted += 1

    async def flush(self, scope: str | None) -> None:
        if scope is None:
            self._all_flushes += 1
            self._entries.clear()
            self._keys_of.clear()
            self._held_bytes = 0
            return
        self._flushes[scope] = self._flushes.get(scope, 0) + 1
        for key in tuple(self._keys_of.get(scope, ())):
            self._remove(key)

    def stats(self) -> StoreStats:
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            stored=self._stored,
            evicted=self._evicted,
            garbage=0,
            dropped=self._dropped,
            entries=len(self._entries),
            held_bytes=self._held_bytes,
        )

    def _epoch(self, scope: str) -> Epoch:
        return Epoch(self._all_flushes, self._flushes.get(scope, 0))

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._held_bytes -= entry.size_bytes
        keys = self._keys_of[entry.scope]
        keys.discard(key)
        if not keys:
            del self._keys_of[entry.scope]

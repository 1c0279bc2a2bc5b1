"""How much of something happens per second, lately."""

from __future__ import annotations

import math

_FRESH_S = 0.1


class Pace:
    """An exponentially weighted rate.

    Args:
        memory_s: what happened that long ago counts 1/e.
    """

    __slots__ = ("_at_s", "_level", "_memory_s", "_read_s", "_since_s", "_value")

    def __init__(self, memory_s: float = 60.0) -> None:
        self._memory_s = memory_s
        self._level = 0.0
        self._at_s = 0.0
        self._since_s: float | None = None
        self._read_s = -math.inf
        self._value = 0.0

    def add(self, amount: float, at_s: float) -> None:
        """So much happened at that time."""
        if self._since_s is None:
            self._since_s = self._at_s = at_s
        self._fade(at_s)
        self._level += amount

    def per_s(self, now_s: float) -> float:
        """Amount per second, read anew every tenth of a second; 0 before the first."""
        if self._since_s is None:
            return 0.0
        if not 0 <= now_s - self._read_s < _FRESH_S:
            self._fade(now_s)
            seen_s = self._memory_s * -math.expm1(-max(0.0, now_s - self._since_s) / self._memory_s)
            self._value = self._level / max(seen_s, 1.0)
            self._read_s = now_s
        return self._value

    def _fade(self, now_s: float) -> None:
        if now_s > self._at_s:
            self._level *= math.exp((self._at_s - now_s) / self._memory_s)
            self._at_s = now_s

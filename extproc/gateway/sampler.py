"""Which requests are measured: at most so many a second, so that measuring costs the same at any load."""

from __future__ import annotations

from extproc.clock import Clock


class Sampler:
    """A token bucket that holds one second's worth.

    Args:
        rate_per_s: samples a second; 0 takes none.
    """

    def __init__(self, rate_per_s: float, clock: Clock) -> None:
        self._rate_per_s = rate_per_s
        self._clock = clock
        self._level = rate_per_s
        self._filled_s = clock.now()

    def take(self) -> bool:
        """Whether this request is to be measured."""
        now_s = self._clock.now()
        limit = max(1.0, self._rate_per_s)
        self._level = min(limit, self._level + (now_s - self._filled_s) * self._rate_per_s)
        self._filled_s = now_s
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

"""Equal requests at the same time: one goes upstream, the others wait for its answer."""

from __future__ import annotations

import asyncio
from collections import deque

from extproc.clock import Clock

from .answer import Answer

_MOST_LEADERS = 3
"""So many leaders may fail one after another; then those who wait are let go, or the last would wait for all."""
_AT_ONCE_S = 0.5
"""Who fails so soon cost the others no time and is not counted: clients often hang up together."""


class Leader:
    """The one who asks upstream. Ends with exactly one of `landed`, `scattered` and `failed`; later ones do nothing."""

    def __init__(self, flights: SingleFlight, flight: _Flight) -> None:
        self._flights = flights
        self._flight = flight

    def landed(self, answer: Answer) -> None:
        """There is an answer; all who wait get it."""
        self._end(answer)

    def scattered(self) -> None:
        """There is none that others could have, and trying again would not change that: all who wait go themselves."""
        self._end(None)

    def failed(self) -> None:
        """The leader is gone: one of those who wait becomes the next."""
        flight = self._flight
        if flight.leader is not self:
            return
        flight.leaders += self._flights.now() - flight.began_s >= _AT_ONCE_S
        if flight.leaders > _MOST_LEADERS:
            self.scattered()
            return
        while flight.waiting:
            waiting = flight.waiting.popleft()
            if not waiting.done():
                flight.leader = Leader(self._flights, flight)
                flight.began_s = self._flights.now()
                waiting.set_result(flight.leader)
                return
        self._end(None)

    def _end(self, answer: Answer | None) -> None:
        flight = self._flight
        if flight.leader is not self:
            return
        flight.leader = None
        self._flights.forget(flight)
        for waiting in flight.waiting:
            if not waiting.done():
                waiting.set_result(answer)
        flight.waiting.clear()


class Wait:
    """A place among those who wait."""

    def __init__(self, flight: _Flight) -> None:
        self._flight = flight
        self._future: asyncio.Future[Answer | Leader | None] = asyncio.get_running_loop().create_future()
        flight.waiting.append(self._future)

    async def outcome(self, within_s: float) -> Answer | Leader | None:
        """The leader's answer; or the lead, if it falls to this one; or None: to be asked for upstream, not waiting
        any longer."""
        try:
            await asyncio.wait((self._future,), timeout=within_s)
            if self._future.done():
                return self._future.result()
        except asyncio.CancelledError:
            self.leave()
            raise
        self.leave()
        return None

    def leave(self) -> None:
        """Waits no longer. Whoever does not come to `outcome` has to say so."""
        if self._future.cancelled():
            return
        if not self._future.done():
            self._future.cancel()
            self._flight.waiting.remove(self._future)
        elif isinstance(lead := self._future.result(), Leader):  # the lead came together with the cancellation
            lead.failed()


class _Flight:
    __slots__ = ("began_s", "key", "leader", "leaders", "waiting")

    def __init__(self, key: bytes, began_s: float) -> None:
        self.key = key
        self.began_s = began_s
        self.leader: Leader | None = None
        self.leaders = 1
        self.waiting: deque[asyncio.Future[Answer | Leader | None]] = deque()


class SingleFlight:
    """The flights of one process.

    Args:
        longest_s: a flight whose leader was not heard of for so long takes no more passengers.
    """

    def __init__(self, clock: Clock, *, longest_s: float = 600.0) -> None:
        self._clock = clock
        self._longest_s = longest_s
        self._flights: dict[bytes, _Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def now(self) -> float:
        return self._clock.now()

    def join(self, key: bytes) -> Leader | Wait:
        """The lead, if nobody has it; else a place among those who wait."""
        flight = self._flights.get(key)
        if flight is not None and self.now() - flight.began_s < self._longest_s:
            return Wait(flight)
        flight = self._flights[key] = _Flight(key, self.now())
        flight.leader = Leader(self, flight)
        return flight.leader

    def forget(self, flight: _Flight) -> None:
        """Ends a flight. Another one may have taken its place."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

"""A request that goes upstream on behalf of all that are equal to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .answer import Answer
from .collect import Collector
from .flight import Leader
from .store import AnswerStore, Epoch, Leases


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the answer of one request goes.

    Args:
        epoch: None where the store could not be asked: nothing is stored then.
    """

    store: AnswerStore
    key: bytes
    scope: str
    ttl_s: float
    epoch: Epoch | None

    def keep(self, answer: Answer) -> None:
        """Stores an answer, now or soon."""
        if self.epoch is not None:
            self.store.put(self.key, self.scope, answer, self.ttl_s, self.epoch)


@dataclass(frozen=True, slots=True)
class Lease:
    """The claim of this instance among those that share a store."""

    leases: Leases
    key: bytes
    token: str

    def release(self) -> None:
        """Gives the claim back, after what was put before it."""
        self.leases.release(self.key, self.token)


class Lead:
    """The right to ask upstream, and the duty to say what came of it.

    Ends with one of `finish`, `refused` and `abandon`; what comes after does nothing. One of them must come.

    Args:
        wall: Unix time in seconds.
        leader: None where nobody waits for this request.
    """

    def __init__(
        self, collector: Collector, shelf: Shelf, wall: Callable[[], float], leader: Leader | None, lease: Lease | None
    ) -> None:
        self._collector = collector
        self._shelf = shelf
        self._wall = wall
        self._leader = leader
        self._lease = lease
        self._open = True

    @property
    def open(self) -> bool:
        """Whether something may still come of it."""
        return self._open

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body of a 200 reply, cut anywhere, with no content-encoding."""
        self._collector.feed(chunk)
        if self._collector.given_up is not None:
            self.refused()

    def finish(self) -> Answer | None:
        """The body is complete. Stores the answer and hands it to those who wait, if it is one to keep.

        Returns:
            That answer.
        """
        if not self._open:
            return None
        answer = self._collector.finish(self._wall())
        if answer is None:
            self.refused()
            return None
        self._open = False
        self._shelf.keep(answer)
        if self._leader is not None:
            self._leader.landed(answer)
        self._release()
        return answer

    def refused(self) -> None:
        """The reply is none to keep, or has another status than 200. Those who wait ask for themselves."""
        if self._close() and self._leader is not None:
            self._leader.scattered()

    def abandon(self) -> None:
        """The client or the replica went away. One of those who wait takes the lead."""
        if self._close() and self._leader is not None:
            self._leader.failed()

    def _close(self) -> bool:
        was_open, self._open = self._open, False
        if was_open:
            self._release()
        return was_open

    def _release(self) -> None:
        if self._lease is not None:
            self._lease.release()

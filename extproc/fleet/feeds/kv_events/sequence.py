"""The order of one engine's batches: which to take, which to ask for again, and when the engine is another one.

Batches are numbered from 0 on, by each process anew. What was missed is asked for on the replay socket, from the batch
before the gap on: if that one comes back as it was, the engine is the same; if it differs, or the engine knows of
none so late, another process has begun to count at the same address, with an empty cache. The ring that answers
holds some 10,000 batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xxhash import xxh3_64_intdigest


@dataclass(frozen=True, slots=True)
class Take:
    """This batch is the next to be folded in."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Anew:
    """What was known no longer counts.

    Args:
        restarted: the engine is another one than before, so it holds nothing of what the one before it held.
    """

    restarted: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """What follows is to be had on the replay socket, from this number on. The batch at hand has not been taken."""

    first: int


Step = Take | Anew | Ask

_Phase = Literal["live", "asking"]


class Sequence:
    """One feed's order.

    Args:
        replayable: whether there is a replay socket to ask.

    Attributes:
        whole: whether all batches since the engine's start, or since its cache was cleared, have been taken.
    """

    def __init__(self, *, replayable: bool) -> None:
        self.whole = False
        self._replayable = replayable
        self._next: int | None = None
        self._last = 0  # digest of the batch before the next one
        self._replayed: dict[int, int] = {}  # digests of batches that may come once more on the live socket
        self._answered = False
        self._in_vain = 0

    @property
    def synced(self) -> bool:
        """Whether it is known which batch comes next."""
        return self._next is not None

    @property
    def next_number(self) -> int | None:
        """Of the batch that comes next; None if that is not known."""
        return self._next

    def ask(self) -> Ask | None:
        """What to ask for to find out what was missed, if anything; None if there is nobody to ask."""
        if not self._replayable:
            return None
        self._answered = False
        return Ask(max(0, self._next - 1) if self._next else 0)

    def live(self, number: int, payload: bytes) -> list[Step]:
        """A batch from the live socket. If the answer is `Ask`, it is to be offered again when the replay is over."""
        if self._next is None:
            return self._unknown(number, payload)
        if number == self._next:
            self._replayed.clear()
            return [self._take(number, payload)]
        if number < self._next:
            if self._replayed.get(number) == xxh3_64_intdigest(payload):
                return []
            return [*self._restart(), *self._unknown(number, payload)]
        ask = self.ask()
        return [ask] if ask is not None and self._in_vain == 0 else self._lost(number, payload)

    def replayed(self, number: int, payload: bytes) -> list[Step]:
        """A batch from the replay socket. An `Ask` in the answer ends this replay and begins another."""
        first, self._answered = not self._answered, True
        if self._next is None:
            self.whole = number == 0
            return [Anew(restarted=False), self._take_replayed(number, payload)]
        if first and number > max(0, self._next - 1):
            self.whole = False
            return [Anew(restarted=False), self._take_replayed(number, payload)]
        if first and self._next:
            same = number == self._next - 1 and self._last == xxh3_64_intdigest(payload)
            return [] if same else [*self._restart(), Ask(0)]
        if number == self._next:
            return [self._take_replayed(number, payload)]
        if number < self._next:
            return []
        # A ROUTER drops what its peer is too slow to take.
        ask = self.ask()
        return [ask] if ask is not None else []

    def replay_ended(self) -> list[Step]:
        """All that the ring holds has come."""
        if self._answered:
            return []
        if self._next:
            return [*self._restart(), Ask(0)]
        if self._next is None:
            self._next, self.whole = 0, True
            return [Anew(restarted=False)]
        return []

    def replay_failed(self) -> None:
        """Nobody answered, or not to the end."""
        self._in_vain += 1

    def cleared(self) -> None:
        """The engine's cache is empty: from here on, all is known of it."""
        self.whole = True

    def _unknown(self, number: int, payload: bytes) -> list[Step]:
        ask = self.ask()
        if ask is not None and self._in_vain == 0:
            return [ask]
        return self._lost(number, payload)

    def _lost(self, number: int, payload: bytes) -> list[Step]:
        """Begins with this batch: what came before it cannot be had."""
        self.whole = number == 0
        self._in_vain = 0
        return [Anew(restarted=False), self._take(number, payload)]

    def _restart(self) -> list[Step]:
        self._next = None
        self._last = 0
        self._in_vain = 0
        self._answered = False
        self._replayed.clear()
        return [Anew(restarted=True)]

    def _take(self, number: int, payload: bytes) -> Take:
        self._next = number + 1
        self._last = xxh3_64_intdigest(payload)
        self._in_vain = 0
        return Take(payload)

    def _take_replayed(self, number: int, payload: bytes) -> Take:
        take = self._take(number, payload)
        self._replayed[number] = self._last
        return take

"""The prompts that one replica has yet to compute, in the order in which it got them.

Engines prefill first come, first served, so one first token tells that all earlier prompts are done. First tokens are
seen of a sample of the requests only; in between, the queue drains at the replica's learned speed. A request whose
first token will be seen (`timed`) is not taken for done before that. When all should be computed and is not, the
replica has stalled; when a first token comes late, what was behind it has not been computed either.
"""

from __future__ import annotations

from collections import OrderedDict


class PrefillQueue:
    """Tokens to compute. Times are seconds of one clock that may be read late but is expected to run forwards."""

    __slots__ = ("_at_s", "_entries", "_stall_s", "_tokens")

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._tokens = 0.0
        self._at_s = 0.0
        self._stall_s = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ticket: str) -> bool:
        return ticket in self._entries

    @property
    def tokens(self) -> float:
        """Tokens that are still to be computed, as of the latest `drain`."""
        return max(0.0, self._tokens)

    @property
    def stall_s(self) -> float:
        """How long the prompts have been overdue, as of the latest `drain`."""
        return self._stall_s

    def push(self, ticket: str, tokens: float, at_s: float, *, timed: bool) -> None:
        """A prompt was sent there. Drain first."""
        if not self._entries:
            self._at_s = at_s
        self._entries[ticket] = _Entry(tokens, timed)
        self._tokens += tokens

    def done(self, ticket: str) -> None:
        """The first token of a request has come: it and all before it are computed, and what is behind it is not."""
        if ticket not in self._entries:
            return
        while self._entries:
            done, entry = self._entries.popitem(last=False)
            self._tokens -= entry.tokens
            if done == ticket:
                break
        for entry in self._entries.values():
            if entry.tokens == entry.size:
                break
            self._tokens += entry.size - entry.tokens
            entry.tokens = entry.size
        self._settle()

    def drop(self, ticket: str) -> None:
        """A request left without a first token, or will be computed elsewhere; says nothing of the others."""
        entry = self._entries.pop(ticket, None)
        if entry is not None:
            self._tokens -= entry.tokens
            self._settle()

    def drain(self, now_s: float, tokens_per_s: float) -> None:
        """Lets time pass. A clock that jumps back lets none pass."""
        elapsed_s = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        if not self._entries:
            return
        credit = elapsed_s * tokens_per_s
        for entry in self._entries.values():
            computed = min(credit, entry.tokens)
            entry.tokens -= computed
            self._tokens -= computed
            credit -= computed
            if entry.tokens > 0:
                self._forget_computed()
                return
        self._stall_s += credit / tokens_per_s
        self._forget_computed()

    def _forget_computed(self) -> None:
        """Leaves those at the head that are computed as far as will ever be known."""
        while self._entries:
            ticket, entry = next(iter(self._entries.items()))
            if entry.timed or entry.tokens > 0:
                return
            del self._entries[ticket]
        self._settle()

    def _settle(self) -> None:
        """The first prompt is another one, or there is none."""
        self._stall_s = 0.0
        if not self._entries:
            self._tokens = 0.0  # no rounding error outlives the queue


class _Entry:
    __slots__ = ("size", "timed", "tokens")

    def __init__(self, tokens: float, timed: bool) -> None:
        self.size = tokens
        self.tokens = tokens  # left
        self.timed = timed

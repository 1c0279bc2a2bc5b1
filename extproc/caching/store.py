"""Where answers are kept, and what the cache asks of such a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .answer import Answer


@dataclass(frozen=True, slots=True)
class Epoch:
    """How often everything, and how often one scope, had been flushed when a request came by.

    An answer is stored under the epoch that its request saw, so that what was under way during a flush does not
    outlive it.
    """

    everything: int = 0
    scope: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up found: perhaps an answer, and the epoch under which one may be stored."""

    answer: Answer | None
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Since the start. `entries` and `held_bytes` are None where another server knows them.

    Args:
        evicted: entries that made room for others.
        garbage: entries that could not be read.
        dropped: answers that could not be stored: too large, or the way to the store was full or broken.
    """

    hits: int
    misses: int
    stored: int
    evicted: int
    garbage: int
    dropped: int
    entries: int | None = None
    held_bytes: int | None = None


class AnswerStore(Protocol):
    """Answers by key. Scopes are who flushes: the tenant, or what several tenants share."""

    async def get(self, key: bytes, scope: str) -> Found | None:
        """Looks a key up; None when the store cannot be asked. Never raises."""
        ...

    def put(self, key: bytes, scope: str, answer: Answer, ttl_s: float, epoch: Epoch) -> None:
        """Stores an answer, now or soon. Never waits and never raises."""
        ...

    async def flush(self, scope: str | None) -> None:
        """Forgets the answers of a scope, or all.

        Raises:
            StoreDown: the store cannot be asked; nothing is known to be forgotten.
        """
        ...

    def stats(self) -> StoreStats: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of an attempt to be the one who asks upstream.

    Args:
        found: what the store held, looked up after the claim.
        won: whether the claim is ours; then it has to be released.
    """

    found: Found
    won: bool


class Leases(Protocol):
    """Among instances that share a store: who asks upstream for a key."""

    async def claim(self, key: bytes, scope: str, token: str, lease_s: float) -> Claim | None:
        """Claims a key and looks it up, in one round trip; None when the store cannot be asked. Never raises."""
        ...

    def release(self, key: bytes, token: str) -> None:
        """Gives a claim back, after what was put before it. Never waits and never raises."""
        ...

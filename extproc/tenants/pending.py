"""What is to be told to Redis: added up per scope, so that it grows with tenants and keys, not with requests."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_TICKETS = 10_000
"""Of one scope. Those beyond lapse in Redis by themselves."""


@dataclass(slots=True)
class Due:
    """What the requests of one scope, a key or a tenant, came to.

    Attributes:
        tokens_back: reserved and not used, in all; below zero: used and not reserved.
        nusd: spent in the window that ends at `ends_us` (Unix time). What was spent in one that is over by then is
            dropped, since nothing depends on it any more.
        released: reservations that have ended, as `ticket|nano-dollars`.
    """

    tokens_back: int = 0
    nusd: int = 0
    ends_us: int = 0
    released: list[str] = field(default_factory=list)

    def spend(self, nusd: int, ends_us: int) -> None:
        """So much more was spent in that window."""
        if ends_us > self.ends_us:
            self.nusd, self.ends_us = 0, ends_us
        self.nusd += nusd

    def release(self, member: str) -> None:
        """A reservation has ended."""
        if len(self.released) < _MOST_TICKETS:
            self.released.append(member)


@dataclass(frozen=True, slots=True)
class Batch:
    """Fixed once made: sent again until Redis says that it has it, which counts it once, by its number."""

    keys: tuple[str, ...]
    arguments: tuple[str | int | float, ...]
    due: dict[str, Due]
    """By public id of the key; empty for the tenant itself."""


class Pending:
    """What is due, of all tenants, and of each at most one batch under way."""

    def __init__(self) -> None:
        self.due: dict[str, dict[str, Due]] = {}
        self.batches: dict[str, Batch] = {}

    def __bool__(self) -> bool:
        return bool(self.due or self.batches)

    def of(self, tenant: str, key: str) -> Due:
        """What is due for a scope, to be added to."""
        scopes = self.due.setdefault(tenant, {})
        if key not in scopes:
            scopes[key] = Due()
        return scopes[key]

    def unwritten_nusd(self, tenant: str, key: str, now_us: float) -> int:
        """Spent in the window that is now, and not known to be in Redis."""
        batch = self.batches.get(tenant)
        dues = [self.due.get(tenant, {}).get(key), batch.due.get(key) if batch else None]
        return sum(due.nusd for due in dues if due is not None and due.ends_us > now_us)

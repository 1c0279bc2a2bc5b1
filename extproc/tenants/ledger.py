"""What is asked of a ledger, what it answers, and what it is told at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from extproc.tenants.keys import Caller

Refused = Literal["requests", "tokens", "budget", "unavailable"]
Scope = Literal["key", "tenant"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on.

    Where several limits hold it back, the one that does so longest is named, so that `retry_after_s` is true of the
    request as a whole.

    Attributes:
        refused: by which limit; None: admitted. `unavailable`: Redis cannot be asked and the policy fails closed.
        scope: whose limit.
        retry_after_s: until this very request would be admitted if nobody else asked; for a budget, the end of its
            window.
        limit: what the bucket holds when full, in requests or tokens; for a budget, its size in nano-dollars. The limit
            meant is the one that refused, else the request bucket with the least left, else such a token bucket; None
            without any.
        remaining: of `limit`, what is left now, after this request.
        reset_s: until `remaining` is `limit` again if nobody asks; for a budget, the end of its window.
        shared: it was counted in a store that all instances share.
    """

    refused: Refused | None = None
    scope: Scope | None = None
    retry_after_s: float = 0.0
    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Bill:
    """What a request reserved and what it really took. Enough to settle it in another instance than admitted it.

    Args:
        ticket: of the `Ask`.
        key: public id; empty without one.
        tokens: prompt and answer; 0 for a request that came to nothing.
        cost_nusd: nano-dollars.
        shared: of the `Verdict`.
    """

    ticket: str
    tenant: str
    key: str
    tokens_reserved: int
    cost_reserved_nusd: int
    key_window_s: float
    tenant_window_s: float
    shared: bool
    tokens: int = 0
    cost_nusd: int = 0

    def used(self, *, tokens: int, cost_nusd: int) -> Bill:
        """The bill with what the request really took."""
        return replace(self, tokens=max(0, tokens), cost_nusd=max(0, cost_nusd))

    def to_metadata(self) -> dict[str, str | float]:
        """As scalars. Numbers are text: Envoy's access log writes a number with six digits and drops the rest."""
        return {name: str(int(value) if isinstance(value, bool) else value) for name, value in _fields(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str | float]) -> Bill:
        """The inverse of `to_metadata`; what else is there is ignored.

        Raises:
            ValueError: a field is missing, or a number is none.
        """
        try:
            return cls(
                ticket=str(metadata["ticket"]),
                tenant=str(metadata["tenant"]),
                key=str(metadata["key"]),
                tokens_reserved=int(metadata["tokens_reserved"]),
                cost_reserved_nusd=int(metadata["cost_reserved_nusd"]),
                key_window_s=_positive(metadata["key_window_s"]),
                tenant_window_s=_positive(metadata["tenant_window_s"]),
                shared=bool(int(metadata["shared"])),
                tokens=int(metadata.get("tokens", 0)),
                cost_nusd=int(metadata.get("cost_nusd", 0)),
            )
        except KeyError as missing:
            raise ValueError(f"a bill without {missing}") from None


def _fields(bill: Bill) -> dict[str, str | float]:
    return {name: getattr(bill, name) for name in Bill.__slots__}


def _positive(value: str | float) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("a window's length is above zero")
    return number


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that wants to be admitted.

    Args:
        tokens: that it is expected to take, prompt and answer.
        cost_nusd: that it is expected to cost at most, in nano-dollars; reserved until it is settled.
        ticket: names the request; no two have the same.
    """

    caller: Caller
    tokens: int
    cost_nusd: int
    ticket: str

    @property
    def reserves_nusd(self) -> int:
        """What is reserved: nothing where nobody has a budget."""
        caller = self.caller
        budgeted = caller.tenant_rules.limits_spend or (caller.key != "" and caller.key_rules.limits_spend)
        return max(0, self.cost_nusd) if budgeted else 0

    def bill(self, verdict: Verdict) -> Bill:
        """The bill of a request that was admitted, as far as it is known by then. It must be settled, come what may."""
        return Bill(
            ticket=self.ticket,
            tenant=self.caller.tenant,
            key=self.caller.key,
            tokens_reserved=max(0, self.tokens),
            cost_reserved_nusd=self.reserves_nusd,
            key_window_s=self.caller.key_rules.window_s,
            tenant_window_s=self.caller.tenant_rules.window_s,
            shared=verdict.shared,
        )


class Ledger(Protocol):
    """Rate limits and budgets of all tenants, kept somewhere.

    All limits that apply to a request are decided on at once: what is refused takes nothing from any of them.
    """

    async def admit(self, ask: Ask) -> Verdict:
        """Whether a request may go on; if so, takes and reserves what it asks for. Raises nothing, whatever is down."""
        ...

    def settle(self, bill: Bill) -> None:
        """Counts what a request really took in place of what it reserved. Never waits, never raises.

        A ticket that comes twice counts once.
        A reservation that is never settled lapses after a while; the tokens it took are not given back.
        """
        ...

    async def spent(self, tenant: str, key: str | None = None) -> int:
        """Nano-dollars spent in the window that is now, by a tenant or by one of its keys."""
        ...

    def known_spent(self) -> dict[str, int]:
        """Nano-dollars spent by each tenant in the window that is now, as far as this instance knows without asking."""
        ...

    async def reset(self, tenant: str, key: str | None = None) -> None:
        """Forgets what a tenant, or one of its keys, has spent, and fills its buckets. Reservations stay.

        Raises:
            StoreDown: the store cannot be asked; nothing has changed.
        """
        ...

    async def run(self) -> None:
        """What goes on beside the requests; returns where there is nothing to do."""
        ...

    async def close(self) -> None:
        """Writes what has not been written, if the store answers."""
        ...

"""What the gateway has done since it was started. Models are configured names; tenants are bounded in number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from extproc.gateway.gateway import Nobody
from extproc.metering.metering import Metered

_MOST_TENANTS = 1000
OTHER = "other"
NUSD_PER_USD = 1_000_000_000


@dataclass(slots=True)
class Tokens:
    """Of prompts (the cached ones included), of those cached, and generated."""

    input: int = 0
    cached: int = 0
    output: int = 0

    def add(self, metered: Metered) -> None:
        self.input += metered.prompt_tokens
        self.cached += metered.cached_tokens
        self.output += metered.completion_tokens


@dataclass(slots=True)
class OfModel:
    """Requests for one model that were sent to a replica and have ended, by status."""

    statuses: Counter[int] = field(default_factory=Counter)
    tokens: Tokens = field(default_factory=Tokens)
    cost_nusd: int = 0


@dataclass(slots=True)
class OfTenant:
    """What one tenant asked for and got."""

    requests: int = 0
    rate_limited: int = 0
    over_budget: int = 0
    tokens: Tokens = field(default_factory=Tokens)


class Totals(Nobody):
    """Counts. An `Observer` of the gateway."""

    def __init__(self) -> None:
        self.models: dict[str, OfModel] = {}
        self.tenants: dict[str, OfTenant] = {}
        self.cache: Counter[str] = Counter()
        self.refused_by_status: Counter[int] = Counter()
        self.failovers = 0

    @property
    def requests(self) -> int:
        """That have ended: served, answered from a cache, or refused."""
        served = sum(sum(each.statuses.values()) for each in self.models.values())
        return served + self.cache["exact_hit"] + self.cache["semantic_hit"] + sum(self.refused_by_status.values())

    def of_tenant(self, name: str) -> OfTenant:
        """What is counted of a tenant; nothing for one that was never heard of."""
        return self.tenants.get(name) or OfTenant()

    def metered(self, metered: Metered) -> None:
        """A request that was sent to a replica has ended."""
        of_model = self.models.get(metered.model)
        if of_model is None:
            of_model = self.models[metered.model] = OfModel()
        of_model.statuses[metered.end.status] += 1
        of_model.tokens.add(metered)
        of_model.cost_nusd += metered.cost_nusd
        of_tenant = self._tenant(metered.tenant)
        of_tenant.requests += 1
        of_tenant.tokens.add(metered)
        self.failovers += max(0, metered.end.attempts - 1)

    def looked_up(self, outcome: str) -> None:
        self.cache[outcome] += 1

    def refused(self, code: str, status: int, tenant: str) -> None:
        self.refused_by_status[status] += 1
        if status == 429:
            self._tenant(tenant).rate_limited += 1
        elif status == 402:
            self._tenant(tenant).over_budget += 1

    def _tenant(self, name: str) -> OfTenant:
        """A JWT may bring any name: those that are too many are counted together."""
        if name not in self.tenants and len(self.tenants) >= _MOST_TENANTS:
            name = OTHER
        return self.tenants.setdefault(name, OfTenant())

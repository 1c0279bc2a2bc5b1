"""Tenants, as an operator sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from extproc.admin.errors import Away, NotFound
from extproc.admin.v1 import admin_pb2 as pb
from extproc.config.policies import DEFAULT_TENANT
from extproc.gateway.policies import Policies
from extproc.operations.live import LiveConfiguration
from extproc.operations.overview import token_stats
from extproc.operations.totals import NUSD_PER_USD, OTHER, Totals
from extproc.redis_link import StoreDown
from extproc.tenants.ledger import Ledger
from extproc.tenants.window import window_end_s

_MOST_SHOWN = 1000
_MOST_ASKED = 200
"""Of the tenants shown, those whose spend the store is asked for; of the others, what is known here."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """See `admin.parts.Tenants`.

    Args:
        policies: those in force.
        wall: Unix time in seconds.
    """

    live: LiveConfiguration
    ledger: Ledger
    totals: Totals
    policies: Callable[[], Policies]
    wall: Callable[[], float]

    def names(self) -> list[str]:
        """Configured ones first, then those that have been heard of."""
        settings = self.live.current.settings
        found = [tenant.name for tenant in settings.tenants]
        found += [key.tenant for key in settings.auth.api_keys]
        found += [DEFAULT_TENANT] if not settings.auth.enabled else []
        found += [*self.ledger.known_spent(), *self.totals.tenants]
        return [name for name in dict.fromkeys(found) if name != OTHER]

    async def list(self) -> pb.Tenants:
        names, known = self.names()[:_MOST_SHOWN], self.ledger.known_spent()
        asked = await asyncio.gather(*(self._spent(name, known) for name in names[:_MOST_ASKED]))
        spent = {**known, **dict(zip(names, asked, strict=False))}
        return pb.Tenants(tenants=[self._view(name, spent.get(name, 0)) for name in names])

    async def reset(self, request: pb.ResetTenantRequest) -> pb.Tenant:
        if request.name not in self.names():
            raise NotFound(f"No tenant is named {request.name!r}.")
        try:
            await self.ledger.reset(request.name)
        except StoreDown:
            raise Away("Redis cannot be asked; nothing has changed.") from None
        return self._view(request.name, await self._spent(request.name, {}))

    async def _spent(self, tenant: str, known: dict[str, int]) -> int:
        """Nano-dollars; what is known here, where the store cannot be asked."""
        try:
            return await self.ledger.spent(tenant)
        except StoreDown:
            return known.get(tenant, 0)

    def _view(self, name: str, spent_nusd: int) -> pb.Tenant:
        policies, totals = self.policies(), self.totals.of_tenant(name)
        rules = policies.tenant(name).tenant_rules
        return pb.Tenant(
            name=name,
            spent_usd=spent_nusd / NUSD_PER_USD,
            budget_usd=-1 if rules.budget_usd is None else rules.budget_usd,
            window_ends_unix_s=window_end_s(self.wall(), rules.window_s),
            rpm=int(rules.rpm or 0),
            tpm=rules.tpm or 0,
            requests=totals.requests,
            rate_limited=totals.rate_limited,
            budget_rejected=totals.over_budget,
            tokens=token_stats(totals.tokens),
            cache_scope=policies.scope(name),
        )

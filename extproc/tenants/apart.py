"""Rate limits kept in one place and budgets in another, where the configuration says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache

from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask, Bill, Ledger, Verdict


class Apart:
    """Two ledgers as one. See `Ledger`; a request takes one round trip for each that is in Redis.

    Args:
        rate: keeps the rate limits.
        budget: keeps the budgets.
    """

    def __init__(self, rate: Ledger, budget: Ledger) -> None:
        self._rate = rate
        self._budget = budget

    async def admit(self, ask: Ask) -> Verdict:
        limited, budgeted = _parts(ask.caller)
        budget_ask = replace(ask, caller=budgeted, tokens=0)
        budget = await self._budget.admit(budget_ask)
        if budget.refused:
            return budget
        # A reservation can be taken back whole, a place in a request bucket cannot: so the budget is asked first.
        rate = await self._rate.admit(replace(ask, caller=limited, cost_nusd=0))
        if rate.refused:
            self._budget.settle(budget_ask.bill(budget))
            return rate
        return replace(rate, shared=rate.shared or budget.shared)

    def settle(self, bill: Bill) -> None:
        self._rate.settle(replace(bill, cost_reserved_nusd=0, cost_nusd=0))
        self._budget.settle(replace(bill, tokens_reserved=0, tokens=0))

    async def spent(self, tenant: str, key: str | None = None) -> int:
        return await self._budget.spent(tenant, key)

    def known_spent(self) -> dict[str, int]:
        return self._budget.known_spent()

    async def reset(self, tenant: str, key: str | None = None) -> None:
        await self._budget.reset(tenant, key)
        await self._rate.reset(tenant, key)

    async def run(self) -> None:
        await asyncio.gather(self._rate.run(), self._budget.run())

    async def close(self) -> None:
        await asyncio.gather(self._rate.close(), self._budget.close())


@lru_cache(maxsize=4096)
def _parts(caller: Caller) -> tuple[Caller, Caller]:
    """The caller with its rate limits alone, and with its budgets alone."""
    key, tenant = caller.key_rules, caller.tenant_rules
    return (
        replace(caller, key_rules=replace(key, budget_usd=None), tenant_rules=replace(tenant, budget_usd=None)),
        replace(caller, key_rules=replace(key, rpm=None, tpm=None), tenant_rules=replace(tenant, rpm=None, tpm=None)),
    )

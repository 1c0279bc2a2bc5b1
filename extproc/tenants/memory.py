"""A ledger in this process: for one instance, or for all while the store that they share is away."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from extproc.clock import Clock
from extproc.tenants.account import (
    Account,
    Moment,
    admission,
    billed,
    brought_forward,
    charged,
    nothing_to_remember,
    refusal,
)
from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask, Bill, Scope, Verdict
from extproc.tenants.recent import Recent
from extproc.tenants.rules import Rules
from extproc.tenants.window import Spend

LEASE_S = 3600.0
_MOST_RESERVATIONS = 100_000
_NEW = Account()

Owner = tuple[str, str]
"""Tenant and public id of a key; the id is empty for the tenant itself."""


class _Reservation(NamedTuple):
    owners: tuple[Owner, ...]
    nusd: int
    until_s: float


class MemoryLedger:
    """See `Ledger`. Keeps an account for as long as there is something to remember: a bucket that is not full, money
    spent in a window that is not over, a reservation.

    Rules come with each request, so a reload of the configuration loses nothing.

    Args:
        clock: buckets fill by it.
        unix_s: windows and leases go by it.
        lease_s: after this long, a reservation that was not settled lapses.
    """

    def __init__(self, clock: Clock, *, unix_s: Callable[[], float] = time.time, lease_s: float = LEASE_S) -> None:
        self._clock = clock
        self._unix_s = unix_s
        self._lease_s = lease_s
        self._accounts: OrderedDict[Owner, Account] = OrderedDict()
        self._reservations: OrderedDict[str, _Reservation] = OrderedDict()
        self._settled = Recent()

    def __len__(self) -> int:
        """Accounts that are kept."""
        return len(self._accounts)

    async def admit(self, ask: Ask) -> Verdict:
        return self.decide(ask)

    def decide(self, ask: Ask) -> Verdict:
        """`admit`, at once."""
        moment = self._moment()
        self._lapse(moment)
        scopes = scopes_of(ask.caller)
        tokens = max(0, ask.tokens)
        accounts: list[Account] = []
        longest: Verdict | None = None
        for owner, scope, rules in scopes:
            account = brought_forward(self._accounts.get(owner, _NEW), rules, moment)
            refused = refusal(account, scope, rules, tokens, moment)
            if refused is not None and (longest is None or refused.retry_after_s > longest.retry_after_s):
                longest = refused
            accounts.append(account)
        if longest is None:
            accounts = [charged(account, tokens, ask.reserves_nusd) for account in accounts]
            self._reserve(ask, tuple(owner for owner, _, _ in scopes), moment)
        for (owner, _, _), account in zip(scopes, accounts, strict=True):
            self._accounts[owner] = account
        self._forget_idle(moment)
        return longest or admission(accounts)

    def settle(self, bill: Bill) -> None:
        if not self._settled.add(bill.ticket):
            return
        moment = self._moment()
        self._release(bill.ticket)
        owners = [((bill.tenant, ""), bill.tenant_window_s)]
        if bill.key:
            owners.append(((bill.tenant, bill.key), bill.key_window_s))
        for owner, window_s in owners:
            account = self._accounts.get(owner, _NEW)
            back = bill.tokens_reserved - bill.tokens
            self._accounts[owner] = billed(account, back, bill.cost_nusd, window_s, moment)
        self._forget_idle(moment)

    async def spent(self, tenant: str, key: str | None = None) -> int:
        account = self._accounts.get((tenant, key or ""))
        return self._spent_now(account) if account else 0

    def known_spent(self) -> dict[str, int]:
        return {tenant: self._spent_now(account) for (tenant, key), account in self._accounts.items() if not key}

    def learn_spent(self, owner: Owner, spend: Spend) -> None:
        """Somebody knows that at least so much was spent in that window."""
        account = self._accounts.get(owner, _NEW)
        mine = account.spend
        if mine is None or mine.ends_s < spend.ends_s or (mine.ends_s == spend.ends_s and mine.nusd < spend.nusd):
            self._accounts[owner] = account._replace(spend=spend)

    async def reset(self, tenant: str, key: str | None = None) -> None:
        owner = (tenant, key or "")
        if owner in self._accounts:
            self._accounts[owner] = Account(reserved_nusd=self._accounts[owner].reserved_nusd)

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._unix_s())

    def _spent_now(self, account: Account) -> int:
        spend = account.spend
        return spend.nusd if spend is not None and self._unix_s() < spend.ends_s else 0

    def _reserve(self, ask: Ask, owners: tuple[Owner, ...], moment: Moment) -> None:
        if ask.reserves_nusd:
            until_s = moment.unix_s + self._lease_s
            self._reservations[ask.ticket] = _Reservation(owners, ask.reserves_nusd, until_s)
            if len(self._reservations) > _MOST_RESERVATIONS:
                self._release(next(iter(self._reservations)))

    def _lapse(self, moment: Moment) -> None:
        while self._reservations:
            ticket, reservation = next(iter(self._reservations.items()))
            if reservation.until_s > moment.unix_s:
                return
            self._release(ticket)

    def _release(self, ticket: str) -> None:
        reservation = self._reservations.pop(ticket, None)
        if reservation is not None:
            for owner in reservation.owners:
                account = self._accounts[owner]
                self._accounts[owner] = account._replace(reserved_nusd=account.reserved_nusd - reservation.nusd)

    def _forget_idle(self, moment: Moment) -> None:
        """Looks at as many old accounts as a request adds, so that the work is spread and the table still shrinks."""
        for owner in [owner for owner, _ in zip(self._accounts, range(3), strict=False)]:
            if nothing_to_remember(self._accounts[owner], moment):
                del self._accounts[owner]
            else:
                self._accounts.move_to_end(owner)


def scopes_of(caller: Caller) -> list[tuple[Owner, Scope, Rules]]:
    """Whose limits apply to a caller, and which these are."""
    tenant: tuple[Owner, Scope, Rules] = ((caller.tenant, ""), "tenant", caller.tenant_rules)
    return [tenant, ((caller.tenant, caller.key), "key", caller.key_rules)] if caller.key else [tenant]

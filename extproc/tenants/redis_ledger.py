"""A ledger that instances share through Redis: one round trip to admit, none to settle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import quote

from redis.asyncio import Redis

from extproc.clock import Clock
from extproc.redis_link import RedisLink, StoreDown
from extproc.tenants.ledger import Ask, Bill, Refused, Scope, Verdict
from extproc.tenants.memory import LEASE_S, MemoryLedger, Owner, scopes_of
from extproc.tenants.pending import Batch, Due, Pending
from extproc.tenants.recent import Recent
from extproc.tenants.rules import Rules
from extproc.tenants.scripts import ADMIT, RESET, SETTLE, Argument
from extproc.tenants.seen import Seen, SeenSpend
from extproc.tenants.window import Spend, window_end_s

log = logging.getLogger(__name__)

WhenDown = Literal["open", "closed"]

_FLUSH_S = 0.05
_MANY_TENANTS = 128
"""In one round trip; and when so many wait, the next flush does not."""
_REMEMBER_BATCH_MS = 86_400_000
_TRY_AGAIN_S = 1.0
_REFUSED: tuple[Refused | None, ...] = (None, "requests", "tokens", "budget")
_US = 1_000_000


class RedisLedger:
    """See `Ledger`. What a request asks is decided by one script, on Redis' own time, for rate and budget together.

    What requests came to is written behind, added up per scope. A batch whose outcome is not known is sent again and
    counted once. While Redis is away, what is spent waits here, and a policy that fails open limits each instance by
    itself, from what this one knows was spent; one that fails closed refuses.

    A Redis that comes back empty has lost buckets, which are full then, and reservations, which their requests release
    to no effect. Spend it is told again: every call says what this instance last saw of the scopes it is about.

    Args:
        clock: of the buckets kept while Redis is away.
        rate_when_down: `closed`: requests whose rate is limited are refused as `unavailable` while Redis is away.
        budget_when_down: the same of those with a budget.
        unix_s: the instance's wall clock; Redis' time is told from it once Redis has answered.
        lease_s: after this long, a reservation that was not settled lapses.
    """

    def __init__(
        self,
        link: RedisLink,
        clock: Clock,
        *,
        rate_when_down: WhenDown = "open",
        budget_when_down: WhenDown = "open",
        unix_s: Callable[[], float] = time.time,
        lease_s: float = LEASE_S,
    ) -> None:
        self._link = link
        self._local = MemoryLedger(clock, unix_s=lambda: self._now_us() / _US, lease_s=lease_s)
        self._closed = (rate_when_down == "closed", budget_when_down == "closed")
        self._unix_s = unix_s
        self._ahead_us = 0.0
        self._lease_us = round(lease_s * _US)
        self._instance = secrets.token_hex(8)
        self._batches = 0
        self._pending = Pending()
        self._seen = SeenSpend()
        self._settled = Recent()
        self._flushing = asyncio.Lock()
        self._some, self._many = asyncio.Event(), asyncio.Event()

    async def admit(self, ask: Ask) -> Verdict:
        scopes = scopes_of(ask.caller)
        if not any(rules.limits_rate or rules.limits_spend for _, _, rules in scopes):
            return Verdict(shared=True)
        keys, arguments = self._question(ask, scopes)
        sent = False

        async def call(redis: Redis) -> list[int]:
            nonlocal sent
            sent = True
            return await ADMIT.call(redis, keys, arguments)

        try:
            reply = await self._link.run(call)
        except (StoreDown, asyncio.CancelledError) as error:
            if sent and ask.reserves_nusd:  # it may have been carried out all the same
                for owner, _, _ in scopes:
                    self._release(owner, ask.ticket, ask.reserves_nusd)
            if isinstance(error, asyncio.CancelledError):
                raise
            return self._without_redis(ask, scopes)
        self._learn(reply[6], [owner for owner, _, _ in scopes], reply[7:])
        return _verdict(reply, scopes)

    def settle(self, bill: Bill) -> None:
        if not self._settled.add(bill.ticket):
            return
        if not bill.shared:
            self._local.settle(bill)
        now_us = self._now_us()
        owners = [((bill.tenant, ""), bill.tenant_window_s)]
        if bill.key:
            owners.append(((bill.tenant, bill.key), bill.key_window_s))
        for owner, window_s in owners:
            due = self._pending.of(*owner)
            due.spend(bill.cost_nusd, _window_end_us(now_us, window_s))
            if bill.shared:
                due.tokens_back += bill.tokens_reserved - bill.tokens
                if bill.cost_reserved_nusd:
                    self._release(owner, bill.ticket, bill.cost_reserved_nusd)
        self._wake()

    async def spent(self, tenant: str, key: str | None = None) -> int:
        """See `Ledger`; from what this instance knows, if Redis cannot be asked."""
        owner = (tenant, key or "")
        try:
            stored = await self._link.run(lambda redis: _stored(redis, owner))
        except StoreDown:
            return self._known_nusd(owner)
        now_us = self._now_us()
        in_redis = stored.nusd if stored.ends_us > now_us else 0
        known = self._seen.of(owner, now_us)
        if known.generation >= stored.generation:  # else it was reset since
            in_redis = max(in_redis, known.nusd)
        return in_redis + self._pending.unwritten_nusd(*owner, now_us)

    def known_spent(self) -> dict[str, int]:
        now_us = self._now_us()
        known = self._seen.tenants(now_us)
        for tenant in {*self._pending.due, *self._pending.batches}:
            known[tenant] = self._known_nusd((tenant, ""))
        return known

    async def reset(self, tenant: str, key: str | None = None) -> None:
        """See `Ledger`. What other instances have not written yet is counted after it."""
        owner = (tenant, key or "")
        await self.flush()
        await self._link.run(lambda redis: RESET.call(redis, _names(owner), ()))
        self._seen.forget(owner)
        await self._local.reset(tenant, key)

    async def flush(self) -> None:
        """Tells Redis what is due.

        Raises:
            StoreDown: it stays due.
        """
        async with self._flushing:
            await self._send()
            for tenant, due in self._pending.due.items():
                self._pending.batches[tenant] = self._batch(tenant, due)
            self._pending.due = {}
            await self._send()
            if not self._pending:
                self._some.clear()
            self._many.clear()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._many.wait(), _FLUSH_S)
            try:
                await self.flush()
            except StoreDown:
                await asyncio.sleep(_FLUSH_S)

    async def close(self) -> None:
        try:
            await self.flush()
        except StoreDown:
            count = len({*self._pending.due, *self._pending.batches})
            log.warning("Redis does not answer at the end: what %d tenants spent lately is not written", count)

    def _now_us(self) -> float:
        return self._unix_s() * _US + self._ahead_us

    def _question(self, ask: Ask, scopes: Sequence[_ScopeOf]) -> tuple[list[str], list[Argument]]:
        keys: list[str] = []
        arguments: list[Argument] = [max(0, ask.tokens), ask.reserves_nusd, ask.ticket, self._lease_us]
        now_us = self._now_us()
        for owner, _, rules in scopes:
            keys += _names(owner)
            arguments += rules.requests or (-1, -1)
            arguments += rules.tokens or (-1, -1)
            arguments.append(-1 if rules.budget_nusd is None else rules.budget_nusd)
            arguments.append(_window_us(rules.window_s))
            arguments += self._seen.of(owner, now_us)
        return keys, arguments

    def _without_redis(self, ask: Ask, scopes: Sequence[_ScopeOf]) -> Verdict:
        rate_closed, budget_closed = self._closed
        if any((rate_closed and r.limits_rate) or (budget_closed and r.limits_spend) for _, _, r in scopes):
            return Verdict("unavailable", retry_after_s=_TRY_AGAIN_S)
        now_s = self._now_us() / _US
        for owner, _, rules in scopes:
            self._local.learn_spent(owner, Spend(self._known_nusd(owner), window_end_s(now_s, rules.window_s)))
        return self._local.decide(ask)

    def _known_nusd(self, owner: Owner) -> int:
        now_us = self._now_us()
        return self._seen.of(owner, now_us).nusd + self._pending.unwritten_nusd(*owner, now_us)

    def _release(self, owner: Owner, ticket: str, nusd: int) -> None:
        self._pending.of(*owner).release(f"{ticket}|{nusd}")
        self._wake()

    def _wake(self) -> None:
        self._some.set()
        if len(self._pending.due) >= _MANY_TENANTS:
            self._many.set()

    def _batch(self, tenant: str, due: dict[str, Due]) -> Batch:
        self._batches += 1
        keys = [f"kvgate:{{{quote(tenant, safe='')}}}:batch:{self._instance}"]
        arguments: list[Argument] = [self._batches, _REMEMBER_BATCH_MS]
        now_us = self._now_us()
        for key, scope in due.items():
            keys += _names((tenant, key))
            arguments += (scope.tokens_back, scope.nusd, scope.ends_us, *self._seen.of((tenant, key), now_us))
            arguments += (len(scope.released), *scope.released)
        return Batch(tuple(keys), tuple(arguments), due)

    async def _send(self) -> None:
        batches = list(self._pending.batches.items())
        for first in range(0, len(batches), _MANY_TENANTS):
            some = batches[first : first + _MANY_TENANTS]
            calls = [(batch.keys, batch.arguments) for _, batch in some]
            replies = await self._link.run(lambda redis, calls=calls: SETTLE.call_many(redis, calls))  # type: ignore[misc]
            for (tenant, batch), reply in zip(some, replies, strict=True):
                del self._pending.batches[tenant]
                self._learn(reply[0], [(tenant, key) for key in batch.due], reply[1:])

    def _learn(self, now_us: int, owners: Sequence[Owner], spends: Sequence[int]) -> None:
        self._ahead_us = now_us - self._unix_s() * _US
        for place, owner in enumerate(owners):
            self._seen.learn(owner, Seen(*spends[3 * place : 3 * place + 3]), now_us)


_ScopeOf = tuple[Owner, Scope, Rules]


def _names(owner: Owner) -> tuple[str, str]:
    """The two keys of a scope, as the scripts say. All keys of a tenant are in one slot of a cluster."""
    tenant, key = owner
    name = f"kvgate:{{{quote(tenant, safe='')}}}:{'key:' + key if key else 'tenant'}"
    return name, f"{name}:reserved"


async def _stored(redis: Redis, owner: Owner) -> Seen:
    return Seen(*(int(field or 0) for field in await redis.hmget(_names(owner)[0], ["s", "e", "g"])))


def _window_us(window_s: float) -> int:
    return max(1, round(window_s * _US))


def _window_end_us(now_us: float, window_s: float) -> int:
    window_us = _window_us(window_s)
    return (int(now_us) // window_us + 1) * window_us


def _verdict(reply: Sequence[int], scopes: Sequence[_ScopeOf]) -> Verdict:
    what, place, wait_us, limit, remaining, reset_us = reply[:6]
    return Verdict(
        refused=_REFUSED[what],
        scope=scopes[place - 1][1] if place else None,
        retry_after_s=wait_us / _US,
        limit=limit if limit >= 0 else None,
        remaining=remaining if limit >= 0 else None,
        reset_s=reset_us / _US if limit >= 0 else None,
        shared=True,
    )

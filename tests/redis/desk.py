"""A ledger in Redis, and requests with a few words."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from extproc.background import Background
from extproc.clock import MonotonicClock
from extproc.redis_link import RedisLink
from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask, Bill, Verdict
from extproc.tenants.redis_ledger import RedisLedger, WhenDown
from extproc.tenants.rules import UNLIMITED, Rules
from tests.redis.delay_proxy import DelayProxy
from tests.redis_server import RedisServer

NUSD = 1_000_000_000


def caller(tenant: Rules = UNLIMITED, key: Rules = UNLIMITED, *, of: str = "acme", name: str = "k1") -> Caller:
    return Caller(name, of, None, key, tenant)


async def until(true: Callable[[], bool]) -> None:
    """The test's own timeout ends it."""
    while not true():
        await asyncio.sleep(0.005)


class Desk:
    """One instance of the gateway, as far as its ledger goes."""

    def __init__(self, server: RedisServer | DelayProxy, timeout_s: float, when_down: WhenDown, lease_s: float) -> None:
        clock = MonotonicClock()
        self.link = RedisLink(server.url, clock, timeout_s=timeout_s)
        self.ledger = RedisLedger(
            self.link, clock, rate_when_down=when_down, budget_when_down=when_down, lease_s=lease_s
        )

    async def ask(self, who: Caller, tokens: int = 0, usd: float = 0) -> tuple[Verdict, Bill]:
        ask = Ask(who, tokens, round(usd * NUSD), secrets.token_hex(8))
        verdict = await self.ledger.admit(ask)
        return verdict, ask.bill(verdict)

    def ends(self, bill: Bill, tokens: int = 0, usd: float = 0) -> None:
        self.ledger.settle(bill.used(tokens=tokens, cost_nusd=round(usd * NUSD)))

    async def reserved(self, scope: str = "kvgate:{acme}:tenant") -> int:
        """Nano-dollars, as Redis has it."""
        return int(await self.link.client.hget(scope, "h") or 0)


@asynccontextmanager
async def desk(
    server: RedisServer | DelayProxy, *, timeout_s: float = 2.0, when_down: WhenDown = "open", lease_s: float = 3600
) -> AsyncIterator[Desk]:
    """An instance that runs."""
    instance, background = Desk(server, timeout_s, when_down, lease_s), Background()
    background.start("ledger", instance.ledger.run)
    try:
        yield instance
    finally:
        await background.stop()
        await instance.ledger.close()
        await instance.link.close()

"""The script in Redis decides as the arithmetic in Python does."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.clock import ManualClock, MonotonicClock
from extproc.redis_link import RedisLink
from extproc.tenants import redis_ledger
from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask
from extproc.tenants.memory import MemoryLedger
from extproc.tenants.redis_ledger import RedisLedger
from extproc.tenants.rules import Rules
from extproc.tenants.scripts import ADMIT, SETTLE, Script
from tests.redis_server import RedisServer

START_S = 1_700_000_000
rules = st.builds(
    Rules,
    rpm=st.none() | st.sampled_from([6, 60, 600]),
    burst=st.integers(1, 5),
    tpm=st.none() | st.sampled_from([60, 6000]),
    budget_usd=st.sampled_from([None, 0, 0.001, 0.002]),
    window_s=st.sampled_from([10, 60, 3600]),
    token_burst=st.none() | st.sampled_from([50, 500]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0.25, 1, 7, 30, 100]),  # seconds that pass
        st.sampled_from(["", "a", "b"]),  # key
        st.integers(0, 200),  # tokens expected
        st.sampled_from([0, 400_000, 1_000_000]),  # nano-dollars expected
        st.none() | st.tuples(st.integers(0, 400), st.integers(0, 1_000_000)),  # what it came to; None: nobody tells
    ),
    max_size=25,
)


def at_time(script: Script) -> Script:
    """The script with a clock that is set from outside."""
    return Script(script.source.replace("redis.call('TIME')", "{redis.call('GET', 'now'), 0}"))


@given(tenant_rules=rules, key_rules=rules, steps=steps)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_and_memory_give_the_same_verdicts(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer, tenant_rules: Rules, key_rules: Rules, steps: list[tuple]
) -> None:
    monkeypatch.setattr(redis_ledger, "ADMIT", at_time(ADMIT))
    monkeypatch.setattr(redis_ledger, "SETTLE", at_time(SETTLE))
    asyncio.run(_compare(server, tenant_rules, key_rules, steps))


async def _compare(server: RedisServer, tenant_rules: Rules, key_rules: Rules, steps: list[tuple]) -> None:
    clock, link = ManualClock(START_S), RedisLink(server.url, MonotonicClock(), timeout_s=5)
    await link.client.flushall()
    shared = RedisLedger(link, clock, unix_s=clock.now, lease_s=60)
    local = MemoryLedger(clock, unix_s=clock.now, lease_s=60)
    numbers = itertools.count()
    for passes_s, key, tokens, cost_nusd, truth in steps:
        clock.advance(passes_s)
        await link.client.set("now", repr(clock.now()))
        ask = Ask(Caller(key, "t", None, key_rules, tenant_rules), tokens, cost_nusd, str(next(numbers)))
        theirs, ours = await shared.admit(ask), await local.admit(ask)
        assert (theirs.refused is None) == (ours.refused is None)
        assert theirs.retry_after_s == pytest.approx(ours.retry_after_s, abs=1e-4)
        if ours.refused is None or (theirs.refused, theirs.scope) == (ours.refused, ours.scope):
            assert (theirs.limit, theirs.remaining) == (ours.limit, ours.remaining)
            assert theirs.reset_s == pytest.approx(ours.reset_s, abs=1e-4) if ours.reset_s else not theirs.reset_s
        if truth and ours.refused is None:
            for ledger, verdict in ((shared, theirs), (local, ours)):
                ledger.settle(ask.bill(verdict).used(tokens=truth[0], cost_nusd=truth[1]))
            await shared.flush()
        assert await shared.spent("t") == await local.spent("t")
        assert await shared.spent("t", key or "a") == await local.spent("t", key or "a")
    await link.close()

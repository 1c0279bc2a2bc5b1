"""The ledger in memory: what tenants and keys may do."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.clock import ManualClock
from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask, Bill, Verdict
from extproc.tenants.memory import MemoryLedger
from extproc.tenants.rules import UNLIMITED, Rules

DAY_S = 86_400.0
NUSD = 1_000_000_000


class Desk:
    """A ledger and a clock, and requests with a few words."""

    def __init__(self, lease_s: float = 3600) -> None:
        self.clock = ManualClock(10 * DAY_S)
        self.ledger = MemoryLedger(self.clock, unix_s=self.clock.now, lease_s=lease_s)
        self._numbers = itertools.count()

    async def ask(self, caller: Caller, tokens: int = 0, usd: float = 0) -> tuple[Verdict, Bill]:
        ask = Ask(caller, tokens, round(usd * NUSD), str(next(self._numbers)))
        verdict = await self.ledger.admit(ask)
        return verdict, ask.bill(verdict)

    async def refused(self, caller: Caller, tokens: int = 0, usd: float = 0) -> str | None:
        return (await self.ask(caller, tokens, usd))[0].refused

    def ends(self, bill: Bill, tokens: int = 0, usd: float = 0) -> None:
        self.ledger.settle(bill.used(tokens=tokens, cost_nusd=round(usd * NUSD)))


def caller(tenant: Rules = UNLIMITED, key: Rules = UNLIMITED, *, of: str = "acme", name: str = "k1") -> Caller:
    return Caller(name, of, None, key, tenant)


async def test_without_limits_everything_is_admitted() -> None:
    desk = Desk()
    verdict, _ = await desk.ask(caller(), 10**9, 10**6)
    assert verdict == Verdict()


async def test_a_burst_is_admitted_and_the_next_one_told_when_to_come() -> None:
    desk, who = Desk(), caller(Rules(rpm=60, burst=3))
    assert [(await desk.ask(who))[0].remaining for _ in range(3)] == [2, 1, 0]
    verdict, _ = await desk.ask(who)
    assert (verdict.refused, verdict.scope, verdict.limit, verdict.remaining) == ("requests", "tenant", 3, 0)
    assert verdict.retry_after_s == pytest.approx(1)
    desk.clock.advance(verdict.retry_after_s)
    assert await desk.refused(who) is None


async def test_remaining_is_limit_again_after_reset() -> None:
    desk, who = Desk(), caller(Rules(rpm=60, burst=3))
    for _ in range(2):
        verdict, _ = await desk.ask(who)
    assert verdict.reset_s == pytest.approx(2)
    desk.clock.advance(verdict.reset_s or math.nan)
    assert [await desk.refused(who) for _ in range(4)] == [None, None, None, "requests"]


async def test_a_key_is_limited_by_itself_and_with_its_tenant() -> None:
    desk = Desk()
    one, two = (caller(Rules(rpm=6, burst=3), Rules(rpm=6, burst=2), name=name) for name in ("k1", "k2"))
    assert [await desk.refused(one) for _ in range(2)] == [None, None]
    verdict, _ = await desk.ask(one)
    assert (verdict.refused, verdict.scope) == ("requests", "key")
    assert await desk.refused(two) is None
    verdict, _ = await desk.ask(two)
    assert (verdict.refused, verdict.scope) == ("requests", "tenant")


async def test_what_is_refused_takes_nothing_from_any_bucket() -> None:
    desk = Desk()
    who = caller(Rules(rpm=6, burst=100, tpm=1000), Rules(rpm=6, burst=1, tpm=60_000))
    await desk.ask(who, 10)
    for _ in range(50):
        assert await desk.refused(who, 10) == "requests"
    other, _ = await desk.ask(caller(who.tenant_rules, UNLIMITED, name="k2"), 985)
    assert (other.refused, other.remaining) == (None, 98)


async def test_one_tenant_never_takes_from_another() -> None:
    desk, rules = Desk(), Rules(rpm=6, burst=1, tpm=60, budget_usd=1)
    for tenant in ("acme", "globex", "acme}", ""):
        verdict, bill = await desk.ask(caller(rules, rules, of=tenant), 60, 2)
        assert verdict.refused is None
        desk.ends(bill, 60, 2)
        assert await desk.ledger.spent(tenant) == 2 * NUSD
    assert await desk.ledger.spent("nobody") == 0


async def test_a_caller_without_a_key_is_its_tenant_alone() -> None:
    desk = Desk()
    nameless = caller(Rules(rpm=6, burst=2), Rules(rpm=6, burst=1), name="")
    assert [await desk.refused(nameless) for _ in range(3)] == [None, None, "requests"]


async def test_the_wait_is_that_of_the_limit_that_holds_longest() -> None:
    desk, who = Desk(), caller(Rules(rpm=60, burst=1, tpm=60), Rules(tpm=6))
    await desk.ask(who, 6)
    verdict, _ = await desk.ask(who, 6)
    assert (verdict.refused, verdict.scope) == ("tokens", "key")
    assert verdict.retry_after_s == pytest.approx(60)


async def test_tokens_are_settled_to_what_was_used() -> None:
    desk, who = Desk(), caller(Rules(tpm=600))
    _, bill = await desk.ask(who, 600)
    assert await desk.refused(who, 400) == "tokens"
    desk.ends(bill, 200)
    assert await desk.refused(who, 400) is None


async def test_a_request_that_used_more_than_estimated_is_waited_for() -> None:
    desk, who = Desk(), caller(Rules(tpm=600))
    _, bill = await desk.ask(who, 10)
    desk.ends(bill, 1200)
    verdict, _ = await desk.ask(who, 10)
    assert verdict.retry_after_s == pytest.approx(61)
    assert verdict.remaining == 0


async def test_a_request_larger_than_the_bucket_is_late_and_not_refused_for_ever() -> None:
    desk, who = Desk(), caller(Rules(tpm=600))
    await desk.ask(who, 60)
    verdict, _ = await desk.ask(who, 5000)
    assert verdict.retry_after_s == pytest.approx(6)
    desk.clock.advance(6)
    assert await desk.refused(who, 5000) is None
    assert (await desk.ask(who, 1))[0].retry_after_s == pytest.approx(440.1)


async def test_what_was_spent_is_refused_until_the_window_ends() -> None:
    desk, who = Desk(), caller(Rules(budget_usd=1))
    desk.clock.advance(DAY_S - 100)
    _, bill = await desk.ask(who, usd=0.1)
    desk.ends(bill, usd=1.0)
    verdict, _ = await desk.ask(who, usd=0.1)
    assert (verdict.refused, verdict.scope, verdict.limit, verdict.remaining) == ("budget", "tenant", NUSD, 0)
    assert verdict.retry_after_s == pytest.approx(100)
    desk.clock.advance(100)
    assert await desk.refused(who) is None
    assert await desk.ledger.spent("acme") == 0


@given(st.lists(st.integers(1, 500_000_000), min_size=1, max_size=60))
async def test_concurrent_requests_overshoot_by_no_more_than_the_last_reservation(costs: list[int]) -> None:
    desk, who = Desk(), caller(Rules(budget_usd=1))
    admitted = [cost for cost in costs if await desk.refused(who, usd=cost / NUSD) is None]
    assert sum(admitted[:-1]) < NUSD
    assert admitted == costs[: len(admitted)]


async def test_a_reservation_is_released_by_its_end_and_the_truth_counted() -> None:
    desk, who = Desk(), caller(Rules(budget_usd=1), Rules(budget_usd=1))
    _, bill = await desk.ask(who, usd=1)
    assert await desk.refused(who) == "budget"
    desk.ends(bill, usd=0.25)
    assert await desk.refused(who) is None
    assert await desk.ledger.spent("acme") == await desk.ledger.spent("acme", "k1") == NUSD // 4
    assert desk.ledger.known_spent() == {"acme": NUSD // 4}


async def test_a_reservation_whose_end_nobody_tells_lapses() -> None:
    desk, who = Desk(lease_s=600), caller(Rules(budget_usd=1))
    _, bill = await desk.ask(who, usd=1)
    desk.clock.advance(599)
    assert await desk.refused(who) == "budget"
    desk.clock.advance(1)
    assert await desk.refused(who) is None
    desk.ends(bill, usd=0.5)  # late, and what it cost still counts
    assert await desk.ledger.spent("acme") == NUSD // 2


async def test_an_end_that_is_told_twice_counts_once() -> None:
    desk, who = Desk(), caller(Rules(budget_usd=1, tpm=600))
    _, bill = await desk.ask(who, 100, usd=0.5)
    for _ in range(3):
        desk.ends(bill, 600, usd=0.5)
    assert await desk.ledger.spent("acme") == NUSD // 2
    assert (await desk.ask(who, 1))[0].retry_after_s == pytest.approx(0.1)


async def test_another_instance_can_settle_what_this_one_admitted() -> None:
    here, there, who = Desk(), Desk(), caller(Rules(budget_usd=1))
    _, bill = await here.ask(who, usd=0.5)
    there.ends(Bill.from_metadata(bill.to_metadata()), usd=0.3)
    assert await there.ledger.spent("acme") == 3 * NUSD // 10


async def test_new_rules_take_effect_and_lose_no_spend() -> None:
    desk = Desk()
    _, bill = await desk.ask(caller(Rules(rpm=60, burst=1, budget_usd=1)), usd=0.5)
    desk.ends(bill, usd=0.5)
    assert await desk.refused(caller(Rules())) is None
    assert await desk.refused(caller(Rules(budget_usd=0.5))) == "budget"
    assert await desk.refused(caller(Rules(budget_usd=0.5, window_s=3600))) == "budget"
    assert await desk.refused(caller(Rules(budget_usd=0.6))) is None


async def test_spend_counts_from_the_start_even_if_a_budget_comes_later() -> None:
    desk = Desk()
    _, bill = await desk.ask(caller(), usd=2)
    desk.ends(bill, usd=2)
    assert await desk.refused(caller(Rules(budget_usd=1))) == "budget"


async def test_a_reset_forgives_one_tenant_and_keeps_reservations() -> None:
    desk, who = Desk(), caller(Rules(budget_usd=1, rpm=6, burst=2))
    _, bill = await desk.ask(who, usd=0.4)
    desk.ends(bill, usd=1)
    _, under_way = await desk.ask(caller(of="globex"))
    await desk.ledger.reset("acme")
    assert await desk.ledger.spent("acme") == 0
    assert await desk.ledger.spent("acme", "k1") == NUSD
    _, bill = await desk.ask(who, usd=1)
    await desk.ledger.reset("acme")
    assert await desk.refused(who) == "budget"
    desk.ends(under_way)


async def test_idle_tenants_are_forgotten() -> None:
    desk, rules = Desk(), Rules(rpm=60, burst=5, tpm=600, budget_usd=1)
    for number in range(500):
        _, bill = await desk.ask(caller(rules, rules, of=f"t{number}"), 10, 0.001)
        desk.ends(bill, 10, 0.001)
    assert len(desk.ledger) >= 1000
    desk.clock.advance(DAY_S)
    for _ in range(500):
        desk.clock.advance(1)
        _, bill = await desk.ask(caller(rules, rules), 1)
        desk.ends(bill)
    assert len(desk.ledger) <= 2

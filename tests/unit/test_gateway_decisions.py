"""The ring of latest decisions: bounded, complete when the end of a request is known, and silent about prompts."""

from __future__ import annotations

from typing import Any

from extproc.fleet.events import Usage
from extproc.fleet.outcome import Outcome
from extproc.gateway.decisions import Decisions
from tests.unit.say import served
from tests.unit.test_gateway_exchange import CHAT, Bench


async def decided(requests: int = 1, **fields: Any) -> tuple[Bench, Decisions]:
    bench = Bench()
    for _ in range(requests):
        await bench.post({**CHAT, **fields})
    return bench, bench.gateway.decisions


def outcome(ticket: str, replica: str = "a", **fields: Any) -> Outcome:
    values: dict[str, Any] = {
        "at_s": 1.0,
        "model": "m",
        "replica": replica,
        "first_choice": True,
        "prompt_tokens": 100,
        "predicted_tokens": 40,
        "cached_tokens": 60,
        "elsewhere_tokens": 0,
        "predicted_ttft_s": 0.1,
        "ttft_s": 0.2,
        "trimmed_tokens": 0,
        "usage": Usage(),
        "ticket": ticket,
        **fields,
    }
    return Outcome(**values)


async def test_a_request_that_is_sent_on_is_a_decision() -> None:
    _, decisions = await decided()
    (decision,) = decisions.latest(10)
    assert decision.number == 1
    assert decision.replica == decision.receipt()["replica"]
    assert (decision.status, decision.served_by, decision.duration_s, decision.ttft_s) == (0, "", None, None)


async def test_the_end_of_its_request_completes_it() -> None:
    _, decisions = await decided()
    (decision,) = decisions.latest(1)
    decisions.outcome(outcome(decision.ticket))
    decisions.ended(served(decision.ticket, "b"), 0.7)
    assert (decision.status, decision.served_by, decision.duration_s) == (200, "b", 0.7)
    assert (decision.cached_tokens, decision.ttft_s) == (60, 0.2)


async def test_a_report_that_belongs_to_none_changes_nothing() -> None:
    _, decisions = await decided()
    decisions.ended(served("nobody", "a"), 0.7)
    assert decisions.latest(1)[0].duration_s is None


async def test_no_more_are_kept_than_may_be_and_the_latest_are() -> None:
    bench = Bench()
    decisions = bench.gateway.decisions = Decisions(most=50)
    for _ in range(120):
        await bench.post(CHAT)
    assert len(decisions) == 50
    assert [each.number for each in decisions.latest(3)] == [120, 119, 118]
    assert decisions.find(70) is None
    found = decisions.find(71)
    assert found is not None and found.number == 71
    assert len(decisions._open) == 50  # what never ended is forgotten with its decision


async def test_pages_lead_back_from_the_newest() -> None:
    _, decisions = await decided(10)
    assert [each.number for each in decisions.latest(3, before=9)] == [8, 7, 6]
    assert [each.number for each in decisions.latest(10, after=8)] == [10, 9]
    assert decisions.latest(10, after=10) == []
    assert decisions.latest(10, before=1) == []


async def test_old_decisions_lose_their_receipt_before_memory_is_lost(monkeypatch: Any) -> None:
    monkeypatch.setattr("extproc.gateway.decisions._MOST_SCORES", 6)  # of two replicas each
    _, decisions = await decided(10)
    assert [bool(each.receipt()) for each in decisions.latest(10)] == [True] * 3 + [False] * 7


async def test_of_a_large_fleet_the_best_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr("extproc.gateway.decisions._SHOWN", 1)
    _, decisions = await decided()
    receipt = decisions.latest(1)[0].receipt()
    assert (len(receipt["replicas"]), receipt["not_shown"]) == (1, 1)


async def test_nothing_of_a_prompt_or_a_session_is_kept() -> None:
    _, decisions = await decided(user="user-of-a-client")
    decision = decisions.latest(1)[0]
    kept = " ".join(repr(getattr(decision, name)) for name in type(decision).__slots__)
    assert "user-of-a-client" not in kept
    assert CHAT["messages"][0]["content"] not in kept


def test_a_replica_is_as_warm_as_its_latest_requests() -> None:
    decisions = Decisions()
    decisions.outcome(outcome("t", cached_tokens=80, ttft_s=0.3))
    decisions.outcome(outcome("u", cached_tokens=None, predicted_tokens=20, ttft_s=None))
    assert decisions.lately("a").warm_share == 0.5
    assert list(decisions.lately("a").ttft_s) == [0.3]
    assert decisions.lately("b").warm_share == 0.0
    for turn in range(200):
        decisions.outcome(outcome(str(turn), cached_tokens=100, ttft_s=turn))
    assert decisions.lately("a").warm_share == 1.0
    assert len(decisions.lately("a").ttft_s) == 60
    decisions.keep_replicas({"b"})
    assert decisions.lately("a").warm_share == 0.0

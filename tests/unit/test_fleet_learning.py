"""What answers teach, and that answers which cannot be true teach nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.fleet.events import (
    CapacityReported,
    Finished,
    FirstToken,
    LoadReported,
    ReplicaDown,
    ReplicaUp,
    Routed,
    Usage,
)
from extproc.fleet.outcome import Outcome
from extproc.fleet.state import Fleet
from extproc.prefix import Chain, Content
from extproc.routing import Option, assess
from tests.unit.say import chain, fleet_of, routed, served


def prompt(*blocks: int) -> Chain:
    """Blocks of 1,000 tokens, so that an error of position is less than one of them."""
    return chain(*blocks, block_tokens=1000)


def ask(fleet: Fleet, asked: Chain, at_s: float, usage: Usage = Usage(), model: str = "") -> None:  # noqa: B008
    """A request to replica a that is served within half a second."""
    ticket = f"at {at_s}"
    matched = fleet.index.match(asked).get("a", 0)
    fleet.apply(routed(ticket, "a", asked, at_s=at_s, matched=matched, model=model))
    fleet.apply(served(ticket, "a", at_s=at_s + 0.5, usage=usage))


class TestCachedTokens:
    def test_they_trim_what_the_engine_had_evicted_and_everything_older_but_nothing_younger(self) -> None:
        fleet = fleet_of("a")
        old, asked, young = prompt(1, 2), prompt(3, 4, 5), prompt(6, 7)
        for at_s, each in enumerate((old, asked, young)):
            ask(fleet, each, at_s=float(at_s))
        ask(fleet, asked, at_s=10.0, usage=Usage(3000, 0, cached_tokens=1000))
        assert fleet.index.match(old) == {}
        assert fleet.index.match(young) == {"a": 2000}
        assert fleet.index.match(asked) == {"a": 3000}  # computed anew

    def test_they_are_a_share_of_the_prompt_since_the_engine_counts_in_its_own_tokens(self) -> None:
        fleet = fleet_of("a")
        ask(fleet, prompt(1), at_s=0.0)
        ask(fleet, prompt(2, 3, 4, 5), at_s=1.0)
        ask(fleet, prompt(2, 3, 4, 5), at_s=2.0, usage=Usage(8000, 0, cached_tokens=8000))
        assert fleet.index.match(prompt(1)) == {"a": 1000}
        ask(fleet, prompt(2, 3, 4, 5), at_s=3.0, usage=Usage(8000, 0, cached_tokens=4000))
        assert fleet.index.match(prompt(1)) == {}

    def test_what_came_to_the_cache_while_the_request_ran_was_not_missed(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(routed("slow", "a", prompt(1, 2), at_s=0.0))
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        fleet.apply(served("slow", "a", at_s=5.0, usage=Usage(2000, 0, cached_tokens=0)))
        assert fleet.index.match(prompt(1, 2, 3)) == {"a": 3000}


class TestUsageThatLies:
    @pytest.mark.parametrize(
        "lie",
        [
            Usage(3000, 10, 3001),
            Usage(3000, 10, 2**53),
            Usage(3000, 10, -5),
            Usage(0, 10, 0),
            Usage(0, 10, 7),
            Usage(-3000, 10, -5),
        ],
    )
    def test_a_count_of_cached_tokens_that_cannot_be_is_counted_as_a_fault_and_trims_nothing(self, lie: Usage) -> None:
        fleet = fleet_of("a")
        ask(fleet, prompt(9), at_s=0.0)
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        ask(fleet, prompt(1, 2, 3), at_s=2.0, usage=lie)
        assert fleet.faults["impossible usage"] == 1
        assert fleet.index.match(prompt(9)) == {"a": 1000}
        assert fleet.index.match(prompt(1, 2, 3)) == {"a": 3000}
        assert fleet.replicas["a"].capacity.tokens is None

    @pytest.mark.parametrize("silence", [Usage(), Usage(3000, 10), Usage(None, 10, 0), Usage(None, None, 10**18)])
    def test_what_is_missing_is_no_fault_and_teaches_nothing(self, silence: Usage) -> None:
        fleet = fleet_of("a")
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        ask(fleet, prompt(1, 2, 3), at_s=2.0, usage=silence)
        assert not fleet.faults
        assert fleet.index.match(prompt(1, 2, 3)) == {"a": 3000}

    @pytest.mark.parametrize("astronomical", [2**53 - 1, 10**18])
    def test_an_astronomical_answer_fills_a_cache_of_known_size_and_no_more(self, astronomical: int) -> None:
        fleet = fleet_of("a")
        fleet.replicas["a"].capacity.report(5000)
        fleet.index.set_capacity("a", 5000)
        ask(fleet, prompt(1, 2, 3), at_s=1.0, usage=Usage(1, astronomical, 0))
        ask(fleet, prompt(1, 2, 3), at_s=2.0, usage=Usage(astronomical, astronomical, astronomical))
        ask(fleet, prompt(4), at_s=3.0)
        assert fleet.index.tokens("a") <= 5000
        assert fleet.index.match(prompt(4)) == {"a": 1000}


WORDS = replace(prompt(1, 2, 3), content=Content(text_tokens=3000))


class TestTokensOfAModel:
    def test_what_the_engine_counts_corrects_what_is_estimated(self) -> None:
        fleet = fleet_of("a")
        for turn in range(80):
            ask(fleet, WORDS, at_s=float(turn), usage=Usage(4500), model="m")
        assert fleet.correction("m").text == pytest.approx(1.5, rel=0.01)
        assert fleet.correction("another").text == 1.0

    @pytest.mark.parametrize("lie", [2**53 - 1, 10**18, 1])
    def test_one_lie_moves_little_and_a_thousand_no_further_than_a_bound(self, lie: int) -> None:
        fleet = fleet_of("a")
        ask(fleet, WORDS, at_s=0.0, usage=Usage(lie), model="m")
        assert fleet.correction("m").text == pytest.approx(1.0, abs=0.06)
        for turn in range(1, 1000):
            ask(fleet, WORDS, at_s=float(turn), usage=Usage(lie), model="m")
        assert 1 / 16 <= fleet.correction("m").text <= 16

    @pytest.mark.parametrize("nothing", [Usage(), Usage(0), Usage(-7)])
    def test_no_count_teaches_nothing(self, nothing: Usage) -> None:
        fleet = fleet_of("a")
        ask(fleet, WORDS, at_s=0.0, usage=nothing, model="m")
        assert fleet.correction("m").text == 1.0

    def test_models_that_come_and_go_do_not_pile_up(self) -> None:
        fleet = fleet_of("a")
        for number in range(600):
            ask(fleet, WORDS, at_s=float(number), usage=Usage(6000), model=f"m{number}")
        assert fleet.correction("m0").text == 1.0
        assert fleet.correction("m599").text > 1.0


def time_first_tokens(fleet: Fleet, replica: str, ttft_s: float, times: int = 60) -> None:
    """Cold prompts of 3,000 tokens, one after the other."""
    for number in range(times):
        at_s, ticket = 1000.0 * number, f"{replica} {number}"
        fleet.apply(routed(ticket, replica, prompt(number, 100, 200), at_s=at_s, timed=True))
        fleet.apply(FirstToken(at_s + ttft_s, ticket))
        fleet.apply(served(ticket, replica, at_s=at_s + ttft_s + 1))


class TestSpeed:
    def test_a_replica_of_which_no_first_token_was_seen_is_expected_to_be_as_fast_as_the_others(self) -> None:
        fleet = fleet_of("slow", "other")
        time_first_tokens(fleet, "slow", ttft_s=1.5)
        fleet.apply(ReplicaUp(9e9, "new"))
        times = [fleet.speed(fleet.replicas[name], "").predict_s(3000) for name in ("slow", "other", "new")]
        assert times == pytest.approx([1.5] * 3, rel=0.1)

    def test_once_it_was_timed_it_is_known_for_itself(self) -> None:
        fleet = fleet_of("slow", "fast", "other")
        time_first_tokens(fleet, "slow", ttft_s=1.5)
        time_first_tokens(fleet, "fast", ttft_s=0.2)
        slow, fast, other = (
            fleet.speed(fleet.replicas[name], "").predict_s(3000) for name in ("slow", "fast", "other")
        )
        assert [slow, fast] == pytest.approx([1.5, 0.2], rel=0.1)
        assert 0.9 * fast <= other <= slow

    @pytest.mark.parametrize("ttft_s", [0.0, -50.0])
    def test_a_first_token_from_before_its_request_is_counted_as_a_fault_and_teaches_nothing(
        self, ttft_s: float
    ) -> None:
        fleet = fleet_of("a")
        before = fleet.replicas["a"].speed.predict_s(3000)
        time_first_tokens(fleet, "a", ttft_s=ttft_s, times=1)
        assert fleet.faults["impossible time"] == 1
        assert fleet.replicas["a"].speed.predict_s(3000) == before

    def test_an_answer_of_another_replica_tells_nothing_of_how_fast_the_first_is(self) -> None:
        fleet = fleet_of("a", "b")
        before = fleet.replicas["a"].speed.predict_s(3000)
        fleet.apply(routed("t", "a", prompt(1), timed=True))
        fleet.apply(FirstToken(50.0, "t"))
        fleet.apply(served("t", "b", at_s=60.0, attempts=2))
        assert [fleet.replicas[name].speed.predict_s(3000) for name in "ab"] == [before, before]


def busy(fleet: Fleet, now_s: float) -> int:
    (candidate,) = assess(fleet, prompt(1), [Option("a", "pool")], now_s)
    return candidate.inflight


def wait_s(fleet: Fleet, now_s: float) -> float:
    (candidate,) = assess(fleet, prompt(1), [Option("a", "pool")], now_s)
    return candidate.wait_s


class TestLoadThatEnginesTell:
    def test_requests_that_came_past_the_gateway_are_counted_and_ours_are_not_counted_twice(self) -> None:
        fleet = fleet_of("a")
        for ticket in ("t", "u"):
            fleet.apply(routed(ticket, "a", prompt(1), at_s=0.0))
        fleet.apply(LoadReported(1.0, "a", running=4, waiting=1, kv_usage=0.5))
        assert busy(fleet, 1.0) == 5
        fleet.apply(LoadReported(2.0, "a", running=2, waiting=0, kv_usage=0.5))
        assert busy(fleet, 2.0) == 2

    def test_one_that_ended_while_the_engine_was_being_asked_is_nobody_elses(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(routed("t", "a", prompt(1), at_s=0.0))
        fleet.apply(served("t", "a", at_s=2.0))
        fleet.apply(LoadReported(1.5, "a", running=1, waiting=0, kv_usage=0.1))
        assert busy(fleet, 2.0) == 0
        fleet.apply(LoadReported(2.5, "a", running=1, waiting=0, kv_usage=0.1))
        assert busy(fleet, 2.5) == 1

    def test_what_was_asked_before_the_latest_report_changes_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(LoadReported(5.0, "a", running=3, waiting=2, kv_usage=0.7))
        fleet.apply(LoadReported(4.0, "a", running=90, waiting=90, kv_usage=0.1))
        state = fleet.replicas["a"]
        assert (state.strangers, state.strangers_waiting, state.kv_usage, state.reported_s) == (5, 2, 0.7, 5.0)

    def test_strangers_are_forgotten_when_nothing_is_heard_of_them_any_more(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(LoadReported(0.0, "a", running=3, waiting=2, kv_usage=0.7))
        assert (busy(fleet, 29.0), wait_s(fleet, 29.0) > 0) == (5, True)
        assert (busy(fleet, 31.0), wait_s(fleet, 31.0)) == (0, 0.0)

    def test_strangers_that_wait_are_waited_for_and_those_that_decode_are_not(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(LoadReported(0.0, "a", running=5, waiting=0, kv_usage=0.7))
        assert wait_s(fleet, 0.0) == 0.0
        fleet.apply(LoadReported(1.0, "a", running=5, waiting=3, kv_usage=0.7))
        assert wait_s(fleet, 1.0) > 0.0

    def test_of_an_unknown_replica_it_changes_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(LoadReported(0.0, "nobody", 1, 1, 0.5))
        assert list(fleet.replicas) == ["a"]


class TestReplicaRenamedWhileItServes:
    def test_its_requests_end_under_the_new_name_and_warm_it(self) -> None:
        outcomes: list[Outcome] = []
        fleet = fleet_of("old", "b", observe=outcomes.append)
        for ticket in ("t", "u"):
            fleet.apply(routed(ticket, "old", prompt(1, 2), at_s=0.0, timed=True))
        fleet.apply(ReplicaDown(1.0, "old"))
        fleet.apply(ReplicaUp(1.0, "new"))
        fleet.apply(FirstToken(1.5, "t"))
        fleet.apply(served("t", "new", at_s=2.0, usage=Usage(2000, 5, 0)))
        fleet.apply(Finished(2.0, "u", served=None, status=0))
        assert fleet.outstanding == 0
        assert fleet.index.match(prompt(1, 2)) == {"new": 2000}
        assert [(fleet.replicas[name].inflight, fleet.replicas[name].failures) for name in ("new", "b")] == [(0, 0)] * 2
        assert [(outcome.replica, outcome.first_choice) for outcome in outcomes] == [("new", False)]

    def test_and_back_again_its_requests_are_not_taken_from_others(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(routed("before", "a", prompt(1, 2)))
        fleet.apply(ReplicaDown(1.0, "a"))
        fleet.apply(ReplicaUp(1.0, "b"))
        fleet.apply(ReplicaDown(2.0, "b"))
        fleet.apply(ReplicaUp(2.0, "a"))
        fleet.apply(routed("after", "a", prompt(1, 2), at_s=3.0))
        fleet.apply(served("before", "a", at_s=4.0))
        assert fleet.replicas["a"].inflight == 1
        assert fleet.index.claimed_blocks("a") == 2
        fleet.apply(served("after", "a", at_s=5.0))
        assert (fleet.replicas["a"].inflight, fleet.index.claimed_blocks("a")) == (0, 0)


def test_a_replica_that_serves_two_models_is_as_fast_as_each_of_them() -> None:
    fleet = fleet_of("a")
    for number in range(40):
        for model, ttft_s in (("small", 0.1), ("large", 2.0)):
            at_s, ticket = 100.0 * number + ttft_s, f"{model} {number}"
            fleet.apply(Routed(at_s, ticket, "", "a", prompt(number, 10, 20), 3000, model=model, timed=True))
            fleet.apply(FirstToken(at_s + ttft_s, ticket))
            fleet.apply(served(ticket, "a", at_s=at_s + ttft_s + 0.1))
    small, large = (fleet.speed(fleet.replicas["a"], model).predict_s(3000) for model in ("small", "large"))
    assert small < large / 4


def test_a_replica_whose_memory_is_short_is_not_taken_for_slow() -> None:
    fleet = fleet_of("a")
    fleet.apply(CapacityReported(0.0, "a", 10_000))
    long = tuple(range(10, 19))
    for number in range(40):
        at_s, first, second = 100.0 * number, f"first {number}", f"second {number}"
        fleet.apply(routed(first, "a", prompt(2 * number, *long), at_s=at_s))
        fleet.apply(routed(second, "a", prompt(2 * number + 1, *long), at_s=at_s + 2, timed=True))
        fleet.apply(served(first, "a", at_s=at_s + 5))
        fleet.apply(FirstToken(at_s + 6, second))
        fleet.apply(served(second, "a", at_s=at_s + 7))
    waited_s, worked_s = 3.0, 1.0
    assert fleet.replicas["a"].speed.predict_s(10_000) < worked_s + waited_s / 4

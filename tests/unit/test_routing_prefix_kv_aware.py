"""The default strategy: the fastest answer, weighed against what it costs those who come after."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extproc.routing import Candidate, Demand, Ranking, prefix_kv_aware
from extproc.routing.prefix_kv_aware import PrefixKvAware
from tests.unit.candidates import demands, fleets
from tests.unit.candidates import replica as candidate

PROMPT_TOKENS = 8000


def replica(name: str, matched_tokens: int = 0, **terms: Any) -> Candidate:
    """One that would compute what it does not hold, for this prompt alone."""
    uncached_tokens = PROMPT_TOKENS - matched_tokens
    return candidate(name, **{"matched_tokens": matched_tokens, "lasting_tokens": float(uncached_tokens), **terms})


def warm(name: str = "warm", **terms: Any) -> Candidate:
    return replica(name, PROMPT_TOKENS, **terms)


def decide(*fleet: Candidate, prompt_tokens: int = PROMPT_TOKENS) -> Ranking:
    return PrefixKvAware().rank(Demand(prompt_tokens), fleet)


def choice(*fleet: Candidate) -> tuple[str, str]:
    """Where the prompt goes and why."""
    ranking = decide(*fleet)
    return ranking.best.name, ranking.reason


def copy_s(*fleet: Candidate) -> float:
    """What it costs others that the prompt, which takes a second, is computed by the first."""
    terms = dict(decide(*fleet).scores[0].terms)
    return terms["copy_s"]


def patience_s(cold: Candidate, utilisation: float = 0.0, count: int = 2, **terms: Any) -> float:
    """How long a wait at the warm replica may be for a prompt to be kept there, to a hundredth of a second."""
    others = [cold._replace(name=f"cold{number}", utilisation=utilisation) for number in range(count - 1)]
    for hundredths in range(10_000):
        if choice(warm(wait_s=hundredths / 100, utilisation=utilisation, **terms), *others)[0] != "warm":
            return hundredths / 100
    return math.inf


class TestWhereTheFirstTokenIsSoonest:
    def test_an_idle_fleet_takes_the_fastest_answer(self) -> None:
        fleet = replica("slow", tokens_per_s=4000.0), replica("fast", tokens_per_s=16_000.0)
        assert choice(*fleet) == ("fast", "spread")

    def test_a_cold_prompt_goes_to_the_shortest_queue(self) -> None:
        assert choice(replica("a", wait_s=0.5), replica("b", wait_s=0.1), replica("c", wait_s=0.9)) == ("b", "spread")

    def test_an_answer_that_always_starts_late_counts_against_a_replica(self) -> None:
        assert choice(replica("far", base_s=0.2), replica("near", base_s=0.01)) == ("near", "spread")

    def test_what_is_warm_need_not_be_computed(self) -> None:
        assert choice(replica("cold"), warm()) == ("warm", "warm")

    def test_requests_in_its_batch_count_against_a_replica(self) -> None:
        assert choice(replica("full", inflight=50), replica("calm", inflight=2)) == ("calm", "spread")

    def test_a_slow_warm_replica_is_left_for_a_fast_cold_one_that_answers_sooner(self) -> None:
        old = replica("old", PROMPT_TOKENS // 2, tokens_per_s=2000.0)
        assert choice(old, replica("new", tokens_per_s=32_000.0)) == ("new", "saturated")

    def test_a_fast_replica_next_to_a_slow_one_gets_cold_work_in_proportion(self) -> None:
        speeds = {"fast": 8000.0, "slow": 4000.0}
        waits_s = dict.fromkeys(speeds, 0.0)
        served: Counter[str] = Counter()
        for _ in range(300):
            fleet = [replica(name, wait_s=waits_s[name], tokens_per_s=speed) for name, speed in speeds.items()]
            best = decide(*fleet).best
            served[best.name] += 1
            waits_s[best.name] += PROMPT_TOKENS / best.tokens_per_s
        assert served["fast"] == pytest.approx(200, abs=3)

    def test_who_idles_is_asked_however_busy_the_fleet_is_as_soon_as_he_would_answer_first(self) -> None:
        for utilisation in (0.0, 0.5, 0.9):
            slow = replica("slow", tokens_per_s=4000.0, utilisation=utilisation)  # 2 s for what takes the other one
            assert choice(slow, replica("fast", wait_s=0.9, utilisation=utilisation))[0] == "fast"
            assert choice(slow, replica("fast", wait_s=1.1, utilisation=utilisation))[0] == "slow"


class TestStickyUntilSaturated:
    def test_a_busy_warm_replica_is_kept_while_waiting_there_is_cheaper_than_computing(self) -> None:
        assert choice(warm(wait_s=0.9), replica("cold")) == ("warm", "warm")

    def test_beyond_that_the_prompt_goes_elsewhere(self) -> None:
        assert choice(warm(wait_s=1.1), replica("cold")) == ("cold", "saturated")

    def test_an_idle_fleet_keeps_a_prompt_for_as_long_as_it_takes_to_compute(self) -> None:
        assert patience_s(replica("cold")) == pytest.approx(1.0, abs=0.06)

    def test_the_busier_the_fleet_the_longer_a_prompt_is_kept(self) -> None:
        patience = [patience_s(replica("cold"), utilisation=share) for share in (0.0, 0.3, 0.6, 0.9)]
        assert patience == sorted(set(patience))
        assert patience[-1] > 3 * patience[0]

    def test_a_second_of_work_delays_the_fewer_the_more_replicas_share_it(self) -> None:
        few, many = (patience_s(replica("cold"), utilisation=0.6, count=count) for count in (2, 16))
        assert few > many

    def test_an_overloaded_fleet_is_no_reason_to_wait_for_ever(self) -> None:
        assert patience_s(replica("cold"), utilisation=4.0) == patience_s(replica("cold"), utilisation=0.9) < 60.0

    def test_where_what_is_evicted_is_used_again_a_prompt_is_kept_longer(self) -> None:
        patience = [patience_s(replica("cold", eviction_chance=chance)) for chance in (0.0, 0.5, 1.0)]
        assert patience == pytest.approx([1.0, 1.5, 2.0], rel=0.06)

    def test_a_cold_prompt_goes_where_what_it_evicts_is_not_missed(self) -> None:
        precious, stale = replica("precious", eviction_chance=0.8), replica("stale", eviction_chance=0.1)
        assert choice(precious, stale) == ("stale", "spread")

    def test_what_many_prompts_share_is_copied_sooner_than_what_belongs_to_one(self) -> None:
        own, shared = replica("cold"), replica("cold", lasting_tokens=PROMPT_TOKENS / 10)
        assert patience_s(shared, utilisation=0.8) < patience_s(own, utilisation=0.8)
        assert patience_s(shared._replace(eviction_chance=1.0)) < patience_s(own._replace(eviction_chance=1.0))

    def test_what_is_shared_still_has_to_be_computed(self) -> None:
        assert patience_s(replica("cold", lasting_tokens=0.0), utilisation=0.8) >= 1.0


class TestWhatACopyCosts:
    @pytest.mark.parametrize("count", [1, 3, 16])
    @pytest.mark.parametrize("busy", [0.1, 0.5, 0.85])
    def test_a_second_of_work_makes_others_wait_as_much_longer_as_their_queue_grows(
        self, busy: float, count: int
    ) -> None:
        def waiting(share: float) -> float:  # Sakasegawa's approximation
            return float(share ** math.sqrt(2 * (count + 1)) / (1 - share))

        growth = (waiting(busy + 1e-6) - waiting(busy - 1e-6)) / 2e-6
        fleet = [replica(f"{number}", utilisation=busy) for number in range(count)]
        assert copy_s(*fleet) == pytest.approx(growth / count, rel=1e-4)

    def test_in_an_idle_fleet_it_costs_what_it_evicts(self) -> None:
        assert copy_s(replica("a", eviction_chance=0.3)) == pytest.approx(0.3)

    def test_in_a_busy_one_what_is_computed_again_evicts_and_delays_in_turn(self) -> None:
        delay = copy_s(replica("a", utilisation=0.5))
        loss = 0.3 + 0.5 * 0.3**2 + 0.5**2 * 0.3**3 + 0.5**3 * 0.3**4
        both = copy_s(replica("a", utilisation=0.5, eviction_chance=0.3))
        assert both == pytest.approx(delay + loss * (1 + delay), rel=0.01)

    def test_it_costs_less_on_a_faster_replica(self) -> None:
        fast = replica("a", tokens_per_s=16_000.0, eviction_chance=0.3)
        assert copy_s(fast) == pytest.approx(0.15)


class TestWhatSharersPay:
    """A prompt of a second that nine others share, held by a replica that is lastingly busier than the other."""

    def credit_s(self, *fleet: Candidate) -> float:
        score = next(score for score in decide(*fleet).scores if score.candidate is fleet[0])
        return -dict(score.terms)["credit_s"]

    def calm(self, **terms: Any) -> Candidate:
        return replica("calm", **{"lasting_tokens": PROMPT_TOKENS / 10, "arrivals_per_s": 1.0, **terms})

    def test_they_pay_for_a_copy_where_they_would_wait_less(self) -> None:
        holder = warm(wait_s=0.3, utilisation=0.5, arrivals_per_s=2.0)
        assert choice(holder, self.calm(utilisation=0.5, arrivals_per_s=2.0)) == ("warm", "warm")
        assert choice(holder, self.calm(utilisation=0.0)) == ("calm", "saturated")

    def test_each_pays_half_of_the_difference_between_the_queues(self) -> None:
        holder = warm(utilisation=0.5, arrivals_per_s=5.0)  # half of the time, 0.1 s each: a queue of 0.1 s
        assert self.credit_s(self.calm(), holder) == pytest.approx(9 * 0.1 / 2)

    def test_together_they_pay_no_more_than_their_part_of_the_copy(self) -> None:
        holder = warm(utilisation=0.9, arrivals_per_s=1.0)
        assert self.credit_s(self.calm(), holder) == pytest.approx(0.9)

    def test_where_no_holder_is_busier_they_pay_nothing(self) -> None:
        holders = warm(utilisation=0.9, arrivals_per_s=1.0), warm("idle", utilisation=0.0, arrivals_per_s=1.0)
        assert self.credit_s(self.calm(), *holders) == 0.0

    def test_what_belongs_to_one_conversation_is_paid_for_by_nobody_else(self) -> None:
        holder = warm(utilisation=0.9, arrivals_per_s=1.0)
        assert self.credit_s(replica("calm"), holder) == 0.0

    def test_one_that_holds_as_much_gets_no_credit_for_being_idle(self) -> None:
        assert self.credit_s(warm("calm", arrivals_per_s=1.0), warm(utilisation=0.9, arrivals_per_s=1.0)) == 0.0


class TestTies:
    def test_equals_go_to_the_one_that_holds_least(self) -> None:
        full, empty = replica("full", held_tokens=90_000), replica("empty", held_tokens=10_000)
        assert choice(full, empty) == choice(empty, full) == ("empty", "spread")

    def test_equals_that_hold_as_much_take_turns(self) -> None:
        assert choice(replica("late", turn=7), replica("early", turn=3)) == ("early", "spread")

    def test_a_difference_too_small_to_be_predicted_counts_as_none(self) -> None:
        full, empty = replica("full", held_tokens=90_000), replica("empty", wait_s=0.02, held_tokens=10_000)
        assert choice(full, empty) == ("empty", "spread")

    def test_among_equals_a_warm_one_goes_first_however_full_it_is(self) -> None:
        fleet = warm(wait_s=1.01, held_tokens=90_000), replica("cold", held_tokens=10_000)
        assert choice(*fleet) == ("warm", "warm")

    def test_a_tiny_match_is_no_reason_to_gather_there(self) -> None:
        greeted = replica("greeted", 100, held_tokens=90_000)
        assert choice(greeted, replica("new", held_tokens=10_000)) == ("new", "spread")

    def test_a_match_of_half_the_prompt_is_one(self) -> None:
        half = replica("half", PROMPT_TOKENS // 2, held_tokens=90_000)
        assert choice(half, replica("new", held_tokens=10_000)) == ("half", "warm")

    def test_an_empty_prompt_goes_to_anybody(self) -> None:
        ranking = decide(candidate("full", held_tokens=5), candidate("empty"), prompt_tokens=0)
        assert (ranking.best.name, ranking.reason) == ("empty", "spread")


class TestReceipt:
    def test_the_terms_that_it_shows_add_up_to_the_cost(self) -> None:
        busy: dict[str, Any] = {"utilisation": 0.7, "eviction_chance": 0.4}
        receipt = decide(warm(wait_s=2.0, inflight=9, base_s=0.03, **busy), replica("cold", **busy)).receipt()
        for line in receipt["replicas"]:
            assert list(line["terms"]) == ["base_s", "wait_s", "own_s", "copy_s", "batch_s", "credit_s"]
            assert sum(line["terms"].values()) == pytest.approx(line["cost"], abs=1e-5)
        cold = next(line for line in receipt["replicas"] if line["name"] == "cold")
        assert cold["terms"]["own_s"] == pytest.approx(1.0)
        assert cold["terms"]["copy_s"] > 0.4

    @given(fleet=fleets, demand=demands)
    def test_every_cost_is_the_sum_of_its_terms_and_credit_never_exceeds_what_is_computed(
        self, fleet: list[Candidate], demand: Demand
    ) -> None:
        for score in PrefixKvAware().rank(demand, fleet).scores:
            terms = dict(score.terms)
            credit_s = -terms.pop("credit_s")
            assert all(0 <= seconds < math.inf for seconds in terms.values())
            assert 0 <= credit_s <= terms["own_s"] + terms.get("restore_s", 0.0)
            assert score.cost == pytest.approx(sum(terms.values()) - credit_s)
            assert score.cost + credit_s >= score.candidate.ttft_s(demand.prompt_tokens) * (1 - 1e-9)


@given(fleet=fleets, demand=demands, more_s=st.floats(0, 1000))
def test_cost_grows_with_the_wait(fleet: list[Candidate], demand: Demand, more_s: float) -> None:
    later = fleet[0]._replace(wait_s=fleet[0].wait_s + more_s)
    assert cost(later, fleet, demand) >= cost(fleet[0], fleet, demand)


@given(fleet=fleets, demand=demands, fewer=st.integers(1, 2000))
def test_cost_grows_with_what_must_be_computed(fleet: list[Candidate], demand: Demand, fewer: int) -> None:
    assume(fleet[0].matched_tokens >= fewer)
    fleet = [each._replace(arrivals_per_s=0.0) for each in fleet]  # nobody is known to be busier than another
    colder = fleet[0]._replace(
        matched_tokens=fleet[0].matched_tokens - fewer, lasting_tokens=fleet[0].lasting_tokens + fewer
    )
    assert cost(colder, fleet, demand) >= cost(fleet[0], fleet, demand)


def cost(first: Candidate, fleet: list[Candidate], demand: Demand) -> float:
    """What the first of a fleet would cost if it were like this."""
    scores = PrefixKvAware().rank(demand, [first, *fleet[1:]]).scores
    return next(score.cost for score in scores if score.candidate is first)


@given(fleet=fleets)
def test_the_gain_is_half_of_what_the_shortest_queue_with_more_of_the_prompt_is_longer(fleet: list[Candidate]) -> None:
    reused = [candidate.reused_tokens for candidate in fleet]
    for each, gain_s in zip(fleet, prefix_kv_aware._gains_s(fleet, reused), strict=True):
        with_more = [prefix_kv_aware._queue_s(other) for other in fleet if other.reused_tokens > each.reused_tokens]
        least_s = min(with_more, default=0.0)
        assert gain_s == max(0.0, least_s - prefix_kv_aware._queue_s(each)) / 2

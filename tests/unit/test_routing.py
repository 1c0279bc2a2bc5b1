"""What holds of every strategy, and the simple ones: turns, chance, load, price."""

from __future__ import annotations

import copy
import json
from collections import Counter
from itertools import permutations
from typing import get_args

import pytest
from hypothesis import given

from extproc.config.settings import Routing
from extproc.config.settings import Strategy as Name
from extproc.routing import Candidate, Demand, Strategy, build_strategy
from extproc.routing.cost import Cost
from extproc.routing.least_busy import LeastBusy
from extproc.routing.round_robin import RoundRobin
from tests.unit.candidates import demands, fleets, order, rank, replica

NAMES: tuple[Name, ...] = get_args(Name)


def build(name: Name, seed: int = 1) -> Strategy:
    return build_strategy(Routing(strategy=name), seed)


class TestEveryStrategy:
    """One fleet is for all of them: to think of it takes longer than to rank it."""

    @given(fleet=fleets, demand=demands)
    def test_ranks_every_candidate_once(self, fleet: list[Candidate], demand: Demand) -> None:
        for name in NAMES:
            strategy = build(name)
            for _ in range(3):
                ranking = strategy.rank(demand, fleet)
                assert (ranking.strategy, ranking.demand) == (name, demand)
                assert sorted(score.candidate for score in ranking.scores) == sorted(fleet), name

    @given(fleet=fleets, demand=demands)
    def test_explains_itself_to_people_and_programs(self, fleet: list[Candidate], demand: Demand) -> None:
        for name in NAMES:
            ranking = build(name).rank(demand, fleet)
            receipt = json.loads(json.dumps(ranking.receipt(), allow_nan=False))
            assert receipt["replica"] == ranking.best.name == receipt["replicas"][0]["name"], name
            assert ranking.reason, name
            assert all(candidate.name in ranking.explain() for candidate in fleet), name

    @given(fleet=fleets, demand=demands)
    def test_a_decision_of_a_copy_leaves_the_original_as_it_was(self, fleet: list[Candidate], demand: Demand) -> None:
        for name in NAMES:
            strategy, twin = build(name), build(name)
            for _ in range(3):
                tried = copy.deepcopy(strategy).rank(demand, fleet)
                copy.deepcopy(strategy).rank(demand, fleet[:1])
                assert tried == strategy.rank(demand, fleet) == twin.rank(demand, fleet), name


def test_round_robin_takes_turns() -> None:
    assert order(RoundRobin(), replica("a", turn=3), replica("b", turn=1), replica("c", turn=2)) == ["b", "c", "a"]


def test_least_busy_counts_requests_in_flight() -> None:
    assert order(LeastBusy(), replica("a", inflight=2), replica("b"), replica("c", inflight=1)) == ["b", "c", "a"]


class TestRandom:
    fleet = tuple(replica(name) for name in "abc")

    def test_every_order_is_as_likely_as_any_other(self) -> None:
        strategy = build("random")
        orders = Counter(tuple(order(strategy, *self.fleet)) for _ in range(6000))
        assert set(orders) == set(permutations("abc"))
        assert all(count == pytest.approx(1000, rel=0.15) for count in orders.values())

    def test_a_seed_gives_the_same_decisions_again(self) -> None:
        one, again = build("random", 7), build("random", 7)
        assert [order(one, *self.fleet) for _ in range(50)] == [order(again, *self.fleet) for _ in range(50)]

    def test_two_gateways_do_not_decide_alike(self) -> None:
        one, other = (build_strategy(Routing(strategy="random")) for _ in range(2))
        assert [order(one, *self.fleet) for _ in range(50)] != [order(other, *self.fleet) for _ in range(50)]


class TestCost:
    strategy = Cost()

    def test_the_cheapest_is_first_however_busy_it_is(self) -> None:
        fleet = replica("a", price=0.3), replica("b", price=0.1, wait_s=60.0, inflight=40), replica("c", price=0.2)
        assert order(self.strategy, *fleet) == ["b", "c", "a"]
        ranking = rank(self.strategy, fleet)
        assert ranking.reason == "cheapest"
        assert ranking.scores[0].cost == pytest.approx(0.1)

    def test_of_equally_cheap_ones_that_with_the_first_token_soonest(self) -> None:
        fleet = replica("a", wait_s=0.2), replica("b", wait_s=0.2, matched_tokens=900), replica("c", price=1.0)
        assert order(self.strategy, *fleet) == ["b", "a", "c"]
        assert rank(self.strategy, fleet).reason == "soonest"

    def test_equals_take_turns(self) -> None:
        assert order(self.strategy, replica("a", turn=2), replica("b", turn=1)) == ["b", "a"]

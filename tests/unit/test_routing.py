"""Who gets a request, and what the decision says of itself."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.settings import Routing
from extproc.fleet.state import ReplicaState
from extproc.routing import Candidate, Strategy, build_strategy
from extproc.routing.least_busy import LeastBusy
from extproc.routing.prefix_kv_aware import PrefixKvAware
from extproc.routing.round_robin import RoundRobin
from extproc.routing.weighted import Weighted

NAMES = ["round_robin", "least_busy", "weighted", "prefix_kv_aware"]


def replica(name: str, *, matched: int = 0, held: int = 0, weight: float = 1.0, **load: int) -> Candidate:
    return Candidate(ReplicaState(name, **load), "pool", weight=weight, matched_tokens=matched, held_tokens=held)  # type: ignore[arg-type]


def order(strategy: Strategy, *candidates: Candidate, prompt_tokens: int = 1000) -> list[str]:
    return [score.candidate.name for score in strategy.rank(prompt_tokens, candidates).scores]


def reason(strategy: Strategy, *candidates: Candidate, prompt_tokens: int = 1000) -> str:
    return strategy.rank(prompt_tokens, candidates).reason


candidates = st.lists(
    st.builds(
        replica,
        st.text("abcdef", min_size=1, max_size=3),
        matched=st.integers(0, 2000),
        held=st.integers(0, 10**6),
        weight=st.floats(0.1, 10),
        inflight=st.integers(0, 50),
        queued_tokens=st.integers(0, 10**5),
        turn=st.integers(0, 100),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda candidate: candidate.name,
)


@pytest.mark.parametrize("name", NAMES)
@given(candidates=candidates, prompt_tokens=st.integers(1, 5000))
def test_every_strategy_ranks_every_candidate_once(name: str, candidates: list[Candidate], prompt_tokens: int) -> None:
    strategy = build_strategy(Routing(strategy=name))  # type: ignore[arg-type]
    ranking = strategy.rank(prompt_tokens, candidates)
    assert ranking.strategy == name
    assert sorted(score.candidate.name for score in ranking.scores) == sorted(c.name for c in candidates)
    assert ranking.best.name in ranking.explain()


def test_round_robin_takes_turns() -> None:
    assert order(RoundRobin(), replica("a", turn=3), replica("b", turn=1), replica("c", turn=2)) == ["b", "c", "a"]


def test_least_busy_counts_requests_in_flight() -> None:
    assert order(LeastBusy(), replica("a", inflight=2), replica("b"), replica("c", inflight=1)) == ["b", "c", "a"]


def test_weighted_shares_in_proportion_and_smoothly() -> None:
    strategy = Weighted()
    fleet = [replica("a", weight=3), replica("b", weight=1)]
    picks = [strategy.rank(1, fleet).best.name for _ in range(40)]
    assert Counter(picks) == {"a": 30, "b": 10}
    assert "aaaa" not in "".join(picks)


def test_a_replica_that_joins_a_weighted_fleet_is_not_flooded() -> None:
    strategy = Weighted()
    for _ in range(100):
        strategy.rank(1, [replica("a"), replica("b")])
    picks = [strategy.rank(1, [replica("a"), replica("b"), replica("new")]).best.name for _ in range(9)]
    assert Counter(picks)["new"] == 3


class TestPrefixKvAware:
    strategy = PrefixKvAware()

    def test_the_warmest_replica_is_first(self) -> None:
        fleet = replica("a"), replica("b", matched=900), replica("c", matched=600)
        assert order(self.strategy, *fleet) == ["b", "c", "a"]
        assert reason(self.strategy, *fleet) == "warm"

    def test_a_busy_warm_replica_is_kept_while_waiting_is_cheaper_than_computing(self) -> None:
        assert order(self.strategy, replica("a", matched=900, queued_tokens=1500), replica("b"))[0] == "a"

    def test_beyond_that_the_prompt_goes_elsewhere(self) -> None:
        fleet = replica("a", matched=900, queued_tokens=3000), replica("b")
        assert order(self.strategy, *fleet)[0] == "b"
        assert reason(self.strategy, *fleet) == "saturated"

    def test_a_cold_prompt_goes_to_the_shortest_queue(self) -> None:
        fleet = replica("a", queued_tokens=5000), replica("b", queued_tokens=100), replica("c", queued_tokens=900)
        assert order(self.strategy, *fleet) == ["b", "c", "a"]
        assert reason(self.strategy, *fleet) == "spread"

    def test_among_equal_queues_the_emptiest_cache_is_filled(self) -> None:
        fleet = replica("a", held=5000), replica("b", held=100, queued_tokens=200), replica("c", held=900)
        assert order(self.strategy, *fleet) == ["b", "c", "a"]

    def test_a_shared_system_prompt_does_not_gather_all_conversations_on_one_replica(self) -> None:
        fleet = replica("a", matched=300, held=5000), replica("b", held=100)
        assert order(self.strategy, *fleet)[0] == "b"

    def test_a_popular_prefix_warms_a_second_replica_instead_of_piling_up(self) -> None:
        fleet = replica("a", matched=990, inflight=20), replica("b", inflight=3), replica("c", inflight=5)
        assert order(self.strategy, *fleet)[0] in ("b", "c")
        assert order(self.strategy, *fleet)[-1] == "a"
        assert reason(self.strategy, *fleet) == "guarded"

    def test_a_hot_replica_is_still_there_when_nobody_else_is(self) -> None:
        assert order(self.strategy, replica("a", inflight=500)) == ["a"]

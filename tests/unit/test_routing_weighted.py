"""Shares in proportion, smoothly, and nobody makes up for an absence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.routing import Candidate
from extproc.routing.weighted import Weighted
from tests.unit.candidates import rank, replica


def picks(strategy: Weighted, fleet: Sequence[Candidate], count: int) -> list[str]:
    return [rank(strategy, fleet).best.name for _ in range(count)]


def test_traffic_is_shared_in_proportion_and_smoothly() -> None:
    chosen = picks(Weighted(), [replica("a", weight=3), replica("b", weight=1)], 40)
    assert Counter(chosen) == {"a": 30, "b": 10}
    assert "aaaa" not in "".join(chosen)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_no_replica_is_ever_more_than_a_few_requests_off_its_share(weights: list[float]) -> None:
    fleet = [replica(str(number), weight=weight) for number, weight in enumerate(weights)]
    counts = Counter(picks(Weighted(), fleet, 300))
    for candidate in fleet:
        assert counts[candidate.name] == pytest.approx(300 * candidate.weight / sum(weights), abs=len(fleet))


def test_a_replica_that_joins_is_not_flooded() -> None:
    strategy, fleet = Weighted(), [replica("a"), replica("b")]
    picks(strategy, fleet, 100)
    assert Counter(picks(strategy, [*fleet, replica("new")], 9))["new"] == 3


def test_a_replica_that_comes_back_is_not_flooded() -> None:
    strategy, fleet = Weighted(), [replica(name) for name in "abc"]
    picks(strategy, fleet, 9)
    picks(strategy, fleet[:2], 300)
    assert Counter(picks(strategy, fleet, 9))["c"] in (3, 4)


def test_a_replica_that_two_models_share_does_not_disturb_the_shares_of_the_others() -> None:
    strategy = Weighted()
    for _ in range(50):
        picks(strategy, [replica("shared"), replica("a")], 10)
        picks(strategy, [replica("shared"), replica("b"), replica("c")], 2)
    chosen = Counter(picks(strategy, [replica("b"), replica("c")], 20))
    assert chosen == {"b": 10, "c": 10}

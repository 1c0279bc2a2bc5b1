"""A session stays where it is, and no replica gets much more than its share."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.routing import Candidate
from extproc.routing.session import Session
from tests.unit.candidates import order, rank, replica

sessions = st.text(min_size=1, max_size=40)
idle_fleets = st.dictionaries(st.text("abcdef", min_size=1), st.floats(0.1, 10), min_size=2, max_size=8).map(
    lambda weights: [replica(name, weight=weight) for name, weight in weights.items()]
)
strategy = Session(1.25)


@given(idle_fleets, sessions, st.randoms())
def test_a_session_has_one_home_whatever_the_order_of_the_configuration(
    fleet: list[Candidate], session: str, random: Random
) -> None:
    found = order(strategy, *fleet, session=session)
    random.shuffle(fleet)
    assert order(Session(), *fleet, session=session) == found


@given(idle_fleets, sessions, st.data())
def test_a_replica_that_leaves_moves_no_sessions_but_its_own(
    fleet: list[Candidate], session: str, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(fleet))
    before = order(strategy, *fleet, session=session)
    after = order(strategy, *(candidate for candidate in fleet if candidate is not gone), session=session)
    assert after == [name for name in before if name != gone.name]


@given(idle_fleets, sessions)
def test_a_replica_that_joins_takes_sessions_and_shuffles_none(fleet: list[Candidate], session: str) -> None:
    *old, new = fleet
    assert order(strategy, *fleet, session=session)[0] in (order(strategy, *old, session=session)[0], new.name)


def test_sessions_are_shared_out_by_weight() -> None:
    fleet = [replica("a", weight=1), replica("b", weight=2), replica("c", weight=5)]
    homes = Counter(rank(strategy, fleet, f"user-{number}").best.name for number in range(8000))
    assert {name: pytest.approx(count, rel=0.1) for name, count in homes.items()} == {"a": 1000, "b": 2000, "c": 5000}


def test_a_full_replica_is_passed_over_and_kept_for_a_retry() -> None:
    names = order(strategy, *map(replica, "abc"), session="alice")
    fleet = [replica(name, inflight=30 if name == names[0] else 10) for name in "abc"]
    ranking = rank(strategy, fleet, "alice")
    assert [score.candidate.name for score in ranking.scores] == [*names[1:], names[0]]
    assert (ranking.reason, [score.note for score in ranking.scores]) == ("overflow", ["", "", "full"])


def test_a_session_is_back_home_when_there_is_room_again() -> None:
    home = order(strategy, *map(replica, "abc"), session="alice")[0]
    ranking = rank(strategy, [replica(name, inflight=12 if name == home else 10) for name in "abc"], "alice")
    assert (ranking.best.name, ranking.reason) == (home, "home")


def test_a_request_without_a_session_goes_where_least_is_in_flight() -> None:
    ranking = rank(strategy, [replica("a", inflight=2), replica("b", inflight=1)])
    assert (ranking.best.name, ranking.reason) == ("b", "no_session")


@given(
    weights=st.lists(st.floats(0.1, 10), min_size=1, max_size=8),
    bound=st.floats(1.01, 4),
    inflight=st.lists(st.integers(0, 100), min_size=8, max_size=8),
    session=sessions,
)
def test_somebody_always_has_room(weights: list[float], bound: float, inflight: list[int], session: str) -> None:
    fleet = [replica(str(n), weight=weight, inflight=inflight[n]) for n, weight in enumerate(weights)]
    assert rank(Session(bound), fleet, session).scores[0].note == ""


@pytest.mark.parametrize("bound", [1.05, 1.25, 2.0])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 5)])
def test_one_viral_session_never_gets_a_replica_past_its_bound(bound: float, weights: tuple[float, ...]) -> None:
    bounded, random = Session(bound), Random(4)
    inflight = [0] * len(weights)
    for _ in range(2000):
        fleet = [replica(str(n), weight=weight, inflight=inflight[n]) for n, weight in enumerate(weights)]
        session = "viral" if random.random() < 0.8 else f"user-{random.randrange(50)}"
        chosen = int(rank(bounded, fleet, session).best.name)
        inflight[chosen] += 1
        assert inflight[chosen] <= math.ceil(bound * sum(inflight) * weights[chosen] / sum(weights))
        if sum(inflight) > 60:
            inflight[random.choices(range(len(weights)), inflight)[0]] -= 1
    assert sum(inflight) > 50

"""Fast replicas get more, new ones are tried, and slow ones are not forgotten."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest

from extproc.fleet.pace import Pace
from extproc.routing import Candidate
from extproc.routing.latency import Latency
from tests.unit.candidates import order, rank, replica

strategy = Latency()


def test_the_fastest_is_first() -> None:
    fleet = replica("a", latency_s=2.0), replica("b", latency_s=0.5), replica("c", latency_s=1.0)
    assert order(strategy, *fleet) == ["b", "c", "a"]
    assert rank(strategy, fleet).reason == "fastest"


def test_a_fast_replica_is_left_when_its_queue_has_made_it_slow() -> None:
    fleet = replica("a", latency_s=2.0), replica("b", latency_s=0.5, inflight=4)
    assert order(strategy, *fleet) == ["a", "b"]


def test_a_replica_without_a_mean_is_tried_before_an_equal() -> None:
    fleet = replica("a", latency_s=0.5), replica("new"), replica("b", latency_s=0.4)
    assert order(strategy, *fleet) == ["new", "b", "a"]
    assert rank(strategy, fleet).reason == "unmeasured"


def test_it_is_not_flooded_before_it_has_answered() -> None:
    fleet = replica("a", latency_s=0.5, inflight=2), replica("new", inflight=3)
    assert order(strategy, *fleet) == ["a", "new"]


def test_a_fleet_without_means_is_used_evenly() -> None:
    assert order(strategy, replica("a", inflight=1), replica("b", turn=2), replica("c", turn=1)) == ["c", "b", "a"]


def test_an_old_mean_counts_less() -> None:
    busy = replica("busy", latency_s=0.1, arrivals_per_s=10, inflight=3)
    assert order(strategy, busy, replica("slow", latency_s=5.0, arrivals_per_s=10)) == ["busy", "slow"]
    ranking = rank(strategy, [busy, replica("slow", latency_s=5.0, arrivals_per_s=0.01)])
    assert (ranking.best.name, ranking.reason) == ("slow", "out_of_date")


@dataclass
class Engine:
    """Serves any number of requests at once, each in `latency_s`."""

    name: str
    latency_s: float
    mean_s: float | None = None
    arrivals: Pace = field(default_factory=Pace)
    ends_s: deque[float] = field(default_factory=deque)
    turn: int = 0

    def candidate(self, now_s: float) -> Candidate:
        while self.ends_s and self.ends_s[0] <= now_s:
            self.ends_s.popleft()
            self.mean_s = self.latency_s if self.mean_s is None else self.mean_s + 0.3 * (self.latency_s - self.mean_s)
        return replica(
            self.name,
            latency_s=self.mean_s,
            inflight=len(self.ends_s),
            turn=self.turn,
            arrivals_per_s=self.arrivals.per_s(now_s),
        )


def serve(engines: list[Engine], seconds: float, *, start_s: float, per_s: float = 20) -> Counter[str]:
    """Requests by the replica that they went to."""
    chosen: Counter[str] = Counter()
    for number in range(int(seconds * per_s)):
        now_s = start_s + number / per_s
        fleet = [engine.candidate(now_s) for engine in engines]
        best = engines[fleet.index(rank(strategy, fleet).best)]
        best.ends_s.append(now_s + best.latency_s)
        best.arrivals.add(1, now_s)
        best.turn = int(start_s * per_s) + number + 1
        chosen[best.name] += 1
    return chosen


class TestASlowReplica:
    @pytest.mark.parametrize("slow_s", [2.0, 10.0, 50.0])
    def test_is_still_asked_but_the_slower_the_less(self, slow_s: float) -> None:
        engines = [Engine("a", 0.2), Engine("b", 0.2), Engine("slow", slow_s)]
        serve(engines, 300, start_s=0)
        chosen = serve(engines, 600, start_s=300)
        times_dearer = slow_s / (3 * 0.2)  # the others have two in flight when the next comes
        fair = sum(chosen.values()) / 3
        assert 0 < chosen["slow"] < 2 * fair * 0.1 / times_dearer

    def test_is_used_like_the_others_once_it_has_recovered(self) -> None:
        engines = [Engine("a", 0.2), Engine("b", 0.2), Engine("slow", 5.0)]
        serve(engines, 300, start_s=0)
        engines[2].latency_s = 0.2
        serve(engines, 60, start_s=300)
        chosen = serve(engines, 100, start_s=360)
        assert chosen["slow"] > 0.5 * sum(chosen.values()) / 3

    def test_is_tried_again_when_requests_come_one_at_a_time(self) -> None:
        engines = [Engine("a", 0.2), Engine("slow", 5.0)]
        serve(engines, 60, start_s=0, per_s=1)
        assert serve(engines, 600, start_s=60, per_s=1)["slow"] > 0

"""Fleets for strategies to order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from extproc.routing import Candidate, Demand, Ranking, Strategy

fleets = st.lists(
    st.builds(
        Candidate,
        name=st.text("abcdef", min_size=1, max_size=3),
        pool=st.just("pool"),
        weight=st.floats(0.1, 10),
        price=st.sampled_from([0.0, 0.1, 2.0]),
        inflight=st.integers(0, 50),
        turn=st.integers(0, 100),
        latency_s=st.none() | st.floats(0, 100),
        matched_tokens=st.integers(0, 2000),
        held_tokens=st.integers(0, 10**6),
        lasting_tokens=st.floats(0, 5000),
        eviction_chance=st.floats(0, 1),
        wait_s=st.floats(0, 100),
        tokens_per_s=st.floats(10, 10**6),
        base_s=st.floats(0, 1),
        arrivals_per_s=st.floats(0, 100),
        utilisation=st.floats(0, 5),
        restorable_tokens=st.just(0) | st.integers(0, 2000),
        restore_tokens_per_s=st.floats(100, 10**8),
        restored_lasting_tokens=st.floats(0, 2000),
        retrieval_chance=st.floats(0, 1),
    ).map(lambda each: each._replace(retrieval_chance=each.retrieval_chance * each.eviction_chance)),
    min_size=1,
    max_size=8,
    unique_by=lambda candidate: candidate.name,
)
demands = st.builds(Demand, st.integers(0, 5000), st.sampled_from(["", "alice", "b\u00f6b"]))


def replica(name: str, **terms: Any) -> Candidate:
    """A candidate in the only pool there is."""
    return Candidate(name, "pool", **terms)


def rank(strategy: Strategy, fleet: Sequence[Candidate], session: str = "") -> Ranking:
    return strategy.rank(Demand(1000, session), fleet)


def order(strategy: Strategy, *fleet: Candidate, session: str = "") -> list[str]:
    """Names, best first."""
    return [score.candidate.name for score in rank(strategy, fleet, session).scores]

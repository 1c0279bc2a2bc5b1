"""Fleets for strategies to order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from extproc.config.topology import TierKind
from extproc.fleet.restore import PRIOR_TOKENS_PER_S
from extproc.fleet.tiers import Behind
from extproc.routing import Candidate, Demand, Ranking, Strategy


def _tiers(kind: TierKind) -> st.SearchStrategy[tuple[Behind, ...]]:
    """A tier of that kind or none."""
    tier = st.builds(
        Behind,
        kind=st.just(kind),
        tokens=st.just(0) | st.integers(0, 2000),
        tokens_per_s=st.floats(100, 10**8),
        lasting_tokens=st.floats(0, 2000),
        retrieval_chance=st.floats(0, 0.5),
    )
    return st.just(()) | st.tuples(tier)


def _with_parts_of_its_chance(candidate: Candidate) -> Candidate:
    share = candidate.eviction_chance
    parts = tuple(tier._replace(retrieval_chance=tier.retrieval_chance * share) for tier in candidate.behind)
    return candidate._replace(behind=parts)


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
        behind=st.builds(tuple.__add__, _tiers("host"), _tiers("remote")),
    ).map(_with_parts_of_its_chance),
    min_size=1,
    max_size=8,
    unique_by=lambda candidate: candidate.name,
)
demands = st.builds(Demand, st.integers(0, 5000), st.sampled_from(["", "alice", "b\u00f6b"]))


def replica(name: str, **terms: Any) -> Candidate:
    """A candidate in the only pool there is."""
    return Candidate(name, "pool", **terms)


def host(tokens: int, tokens_per_s: float = PRIOR_TOKENS_PER_S["host"], **terms: float) -> Behind:
    """A host tier that has so much of the prompt."""
    return Behind("host", tokens, tokens_per_s, **terms)


def remote(tokens: int, tokens_per_s: float = PRIOR_TOKENS_PER_S["remote"], **terms: float) -> Behind:
    """A remote tier that has so much of the prompt beyond what is in front of it."""
    return Behind("remote", tokens, tokens_per_s, **terms)


def rank(strategy: Strategy, fleet: Sequence[Candidate], session: str = "") -> Ranking:
    return strategy.rank(Demand(1000, session), fleet)


def order(strategy: Strategy, *fleet: Candidate, session: str = "") -> list[str]:
    """Names, best first."""
    return [score.candidate.name for score in rank(strategy, fleet, session).scores]

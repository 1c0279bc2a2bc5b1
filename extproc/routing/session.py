"""A session stays with its replica, unless that one would get far more than its share of the load.

Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018). In place of a ring, every session has
its own order of the replicas, by rendezvous hashing (Thaler and Ravishankar, 1998) with weights (Schindelhauer and
Schomaker, 2005): nothing is stored, all gateways agree, and a replica that leaves or joins moves no sessions but those
it had or gets.

    order: ascending -ln(hash(session, replica)) / weight, the hash being uniform in (0, 1]
    full:  inflight + 1 > ceil(load_bound * (total inflight + 1) * weight / total weight)

The session goes to the first in its order that is not full. There always is one, since the limits add up to more than
all requests in flight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from xxhash import xxh3_64_intdigest

from extproc.routing.least_busy import LeastBusy
from extproc.routing.ranking import Candidate, Demand, Ranking, Score

_HASHES = 2**64


class Session:
    """See the module's text for the rule. A request without a session goes where least is in flight.

    Args:
        load_bound: requests in flight that a replica may have, as a multiple of its share by weight; more than 1.
    """

    def __init__(self, load_bound: float = 1.25) -> None:
        self._load_bound = load_bound
        self._no_session = LeastBusy()

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        if not demand.session:
            return replace(self._no_session.rank(demand, candidates), strategy="session", reason="no_session")
        session = xxh3_64_intdigest(demand.session.encode())
        load = self._load_bound * (sum(c.inflight for c in candidates) + 1) / sum(c.weight for c in candidates)
        scores = []
        for place, candidate in enumerate(sorted(candidates, key=lambda c: _distance(session, c))):
            limit = math.ceil(load * candidate.weight)
            note = "full" if candidate.inflight + 1 > limit else ""
            scores.append(Score(candidate, cost=float(place), note=note, terms=(("limit", float(limit)),)))
        scores.sort(key=lambda score: (score.note == "full", score.cost))
        return Ranking("session", "home" if scores[0].cost == 0 else "overflow", demand, tuple(scores))


def _distance(session: int, candidate: Candidate) -> float:
    """Exponentially distributed with the weight as its rate, so the nearest replica is so in proportion to weight."""
    digest = xxh3_64_intdigest(candidate.name.encode(), seed=session)
    return -math.log((digest + 1) / _HASHES) / candidate.weight

"""The replica with the fewest requests in flight."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score


class LeastBusy:
    """Fewest requests in flight first; among equals, the one that has waited longest for a request."""

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        order = sorted(candidates, key=lambda c: (c.inflight, c.turn))
        scores = tuple(Score(candidate, cost=float(candidate.inflight)) for candidate in order)
        return Ranking("least_busy", "least_busy", demand, scores)

"""One after the other, whatever they hold and however busy they are."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score


class RoundRobin:
    """Takes turns: whoever has waited longest for a request is next."""

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        order = sorted(candidates, key=lambda c: c.turn)
        scores = tuple(Score(candidate, cost=float(place)) for place, candidate in enumerate(order))
        return Ranking("round_robin", "turn", demand, scores)

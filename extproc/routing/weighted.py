"""Traffic in proportion to each replica's weight."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score


class Weighted:
    """Stride scheduling (Waldspurger and Weihl, 1995): each pick moves a replica on by 1/weight; the hindmost is next.

    Deterministic and smooth: weights 3 and 1 give a, a, b, a and not a, a, a, b. A replica that joins starts level
    with the hindmost, and one that comes back at most one stride behind the foremost, where it would be had it been
    there: neither makes up for the time when it was away.
    """

    def __init__(self) -> None:
        self._passes: dict[str, float] = {}

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        known = [self._passes[c.name] for c in candidates if c.name in self._passes]
        hindmost, foremost = min(known, default=0.0), max(known, default=0.0)
        nexts = [(max(self._passes.get(c.name, hindmost) + 1 / c.weight, foremost), c) for c in candidates]
        nexts.sort(key=lambda entry: (entry[0], entry[1].turn))
        for cost, candidate in nexts:
            self._passes.setdefault(candidate.name, cost - 1 / candidate.weight)
        cost, best = nexts[0]
        self._passes[best.name] = cost
        return Ranking("weighted", "weight", demand, tuple(Score(candidate, cost) for cost, candidate in nexts))

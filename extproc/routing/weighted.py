"""Traffic in proportion to each replica's weight."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Ranking, Score


class Weighted:
    """Stride scheduling (Waldspurger and Weihl, 1995): each pick moves a replica on by 1/weight; the hindmost is next.

    Deterministic and smooth: weights 3 and 1 give a, a, b, a and not a, a, a, b. A replica that joins starts level
    with the hindmost, so it does not make up for the time when it was not there.
    """

    def __init__(self) -> None:
        self._passes: dict[str, float] = {}

    def rank(self, prompt_tokens: int, candidates: Sequence[Candidate]) -> Ranking:
        known = [self._passes[c.name] for c in candidates if c.name in self._passes]
        start = min(known, default=0.0)
        order = sorted(candidates, key=lambda c: (self._passes.get(c.name, start) + 1 / c.weight, c.state.turn))
        scores = tuple(Score(c, cost=self._passes.get(c.name, start) + 1 / c.weight) for c in order)
        for score in scores:
            self._passes.setdefault(score.candidate.name, start)
        self._passes[order[0].name] = scores[0].cost
        return Ranking("weighted", "weight", prompt_tokens, scores)

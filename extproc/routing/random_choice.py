"""Any replica, each as likely as the next."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from extproc.routing.ranking import Candidate, Demand, Ranking, Score


class RandomChoice:
    """A fair shuffle of all candidates.

    Args:
        generator: the only source of chance; a seeded one gives the same order of decisions again.
    """

    def __init__(self, generator: Random) -> None:
        self._generator = generator

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        order = self._generator.sample(candidates, len(candidates))
        scores = tuple(Score(candidate, cost=float(place)) for place, candidate in enumerate(order))
        return Ranking("random", "chance", demand, scores)

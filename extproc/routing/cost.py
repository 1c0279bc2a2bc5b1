"""The cheapest replica, and among equally cheap ones the soonest."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score


class Cost:
    """Cost in US dollars of the prompt; equal prices are decided by the predicted time to the first token.

    Tokens to be generated are left out: nobody knows yet how many there will be.
    """

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        tokens = demand.prompt_tokens
        order = sorted(candidates, key=lambda c: (c.price, c.ttft_s(tokens), c.turn))
        scores = tuple(Score(c, cost=c.price * tokens / 1000, terms=(("ttft_s", c.ttft_s(tokens)),)) for c in order)
        rivals = sum(c.price == order[0].price for c in order)
        return Ranking("cost", "cheapest" if rivals == 1 else "soonest", demand, scores)

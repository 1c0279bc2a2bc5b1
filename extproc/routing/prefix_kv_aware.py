"""The replica that already holds the prompt, unless it is too busy; cold prompts spread out.

    cost(replica) = weight_load * queued_tokens + weight_prefix * (prompt_tokens - matched_tokens)

in tokens that have to be computed before the first answer token. Three rules around it:

1. Stick: replicas that hold at least `affinity_threshold` of the prompt go before those that do not, and among them
   the cheapest is first, as long as going there is cheaper than computing the prompt on the best of the others.
2. Spread: with no such replica, a smaller match does not count: it is most often a system prompt that everybody will
   hold soon. The least queued replica is first; queues within half of this prompt count as equal, and among
   equals the one that holds least is first, so that caches fill evenly.
3. Guard: a replica with more than `max_inflight_skew` requests in flight above the idlest goes last: one popular
   prefix then warms a second replica instead of piling up on the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Ranking, Score

_QUEUE_TOLERANCE = 0.5


class PrefixKvAware:
    """See the module's text for the rule.

    Args:
        affinity_threshold: share of the prompt, 0 to 1.
        weight_prefix: cost of a token to compute.
        weight_load: cost of a token queued ahead.
        max_inflight_skew: requests.
    """

    def __init__(
        self,
        *,
        affinity_threshold: float = 0.5,
        weight_prefix: float = 1.0,
        weight_load: float = 0.5,
        max_inflight_skew: int = 8,
    ) -> None:
        self._threshold = affinity_threshold
        self._weight_prefix = weight_prefix
        self._weight_load = weight_load
        self._max_inflight_skew = max_inflight_skew

    def rank(self, prompt_tokens: int, candidates: Sequence[Candidate]) -> Ranking:
        ceiling = min(candidate.state.inflight for candidate in candidates) + self._max_inflight_skew
        sticky_tokens = max(1.0, self._threshold * prompt_tokens)
        warm: list[Score] = []
        cold: list[Score] = []
        hot: list[Score] = []
        guarded = False
        for candidate in candidates:
            cost = self._cost(candidate, prompt_tokens)
            is_warm = candidate.matched_tokens >= sticky_tokens
            if candidate.state.inflight > ceiling:
                hot.append(Score(candidate, cost, "hot"))
                guarded |= is_warm
            else:
                (warm if is_warm else cold).append(Score(candidate, cost))
        warm.sort(key=_by_cost)
        cold = _spread(cold, prompt_tokens)
        hot.sort(key=_by_cost)

        reason = "warm" if warm else "guarded" if guarded else "spread"
        if warm and cold:
            idler = min(cold, key=_by_cost)
            if idler.cost < warm[0].cost:
                reason = "saturated"
                cold.remove(idler)
                warm.insert(0, idler)
        return Ranking("prefix_kv_aware", reason, prompt_tokens, (*warm, *cold, *hot))

    def _cost(self, candidate: Candidate, prompt_tokens: int) -> float:
        uncached = max(0, prompt_tokens - candidate.matched_tokens)
        return self._weight_load * candidate.state.queued_tokens + self._weight_prefix * uncached


def _by_cost(score: Score) -> tuple[float, int]:
    return score.cost, score.candidate.state.turn


def _spread(scores: list[Score], prompt_tokens: int) -> list[Score]:
    """Shortest queue first, then emptiest cache, then longest without a request."""
    if len(scores) < 2:
        return scores
    least = min(score.candidate.state.queued_tokens for score in scores)
    step = max(1.0, _QUEUE_TOLERANCE * prompt_tokens)

    def place(score: Score) -> tuple[int, int, int]:
        candidate = score.candidate
        return int((candidate.state.queued_tokens - least) / step), candidate.held_tokens, candidate.state.turn

    return sorted(scores, key=place)

"""The replica that already holds the prompt, unless it is too busy; cold prompts spread out.

    cost(replica) = weight_load * queued_tokens + weight_prefix * (prompt_tokens - matched_tokens)

in tokens that have to be computed before the first answer token. Three rules around it:

1. Stick: replicas that hold at least `affinity_threshold` of the prompt go before those that do not, and among them
   the cheapest is first, as long as going there is cheaper than computing the prompt on the best of the others.
2. Spread: with no such replica, a smaller match does not count: it is most often a system prompt that everybody will
   hold soon. The least queued replica is first; queues within a quarter of this prompt count as equal, and among
   equals the one that holds least is first, so that caches fill evenly.
3. Guard: a replica with more than `max_inflight_skew` requests in flight above the idlest goes last: one popular
   prefix then warms a second replica instead of piling up on the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Ranking, Score

_QUEUE_TOLERANCE = 0.25


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
        idlest = min(candidate.state.inflight for candidate in candidates)
        ceiling = idlest + self._max_inflight_skew
        warm: list[Candidate] = []
        cold: list[Candidate] = []
        hot: list[Candidate] = []
        for candidate in candidates:
            if candidate.state.inflight > ceiling:
                hot.append(candidate)
            elif candidate.matched_tokens and candidate.matched_tokens >= self._threshold * prompt_tokens:
                warm.append(candidate)
            else:
                cold.append(candidate)
        warm.sort(key=lambda c: (self._cost(c, prompt_tokens), c.state.turn))
        cold = self._spread(cold, prompt_tokens)
        hot.sort(key=lambda c: self._cost(c, prompt_tokens))

        guarded = any(c.matched_tokens >= self._threshold * prompt_tokens and c.matched_tokens for c in hot)
        if not warm:
            reason = "guarded" if guarded else "spread"
        elif cold and self._cost(cold[0], prompt_tokens) < self._cost(warm[0], prompt_tokens):
            warm, cold = cold[:1], warm + cold[1:]
            reason = "saturated"
        else:
            reason = "warm"
        scores = [Score(c, self._cost(c, prompt_tokens)) for c in warm + cold]
        scores += [Score(c, self._cost(c, prompt_tokens), "hot") for c in hot]
        return Ranking("prefix_kv_aware", reason, prompt_tokens, tuple(scores))

    def _cost(self, candidate: Candidate, prompt_tokens: int) -> float:
        uncached = max(0, prompt_tokens - candidate.matched_tokens)
        return self._weight_load * candidate.state.queued_tokens + self._weight_prefix * uncached

    def _spread(self, cold: list[Candidate], prompt_tokens: int) -> list[Candidate]:
        if not cold:
            return cold
        least = min(candidate.state.queued_tokens for candidate in cold)
        step = max(1.0, _QUEUE_TOLERANCE * prompt_tokens)

        def place(candidate: Candidate) -> tuple[int, int, int]:
            behind = int((candidate.state.queued_tokens - least) / step)
            return behind, candidate.held_tokens, candidate.state.turn

        return sorted(cold, key=place)

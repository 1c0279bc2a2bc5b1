"""The replica from which the first token is expected soonest, with an eye to those who come after.

    ttft_s(r) = base_s + wait_s + own_s         own_s     = uncached tokens / prefill speed
    cost(r)   = ttft_s + copy_s + batch_s       copy_s    = lasting_s * (delay + loss * (1 + delay))
                                                lasting_s = uncached tokens, shared ones in part / prefill speed

`wait_s` is the work queued ahead; speed and `base_s` are learned of each replica. `copy_s` is what it costs others that
this prompt is computed and kept here:

- delay: request-seconds that a second of extra work makes others wait. In a fleet of n replicas that is busy for a
  share rho of the time, about L = rho^sqrt(2 (n + 1)) / (1 - rho) requests wait (Sakasegawa, 1977); a second of work
  raises rho by 1 / n of a second's worth, so delay = (dL / d rho) / n.
- loss: what is kept here evicts as much. With the chance p that the evicted is used again, p is computed again, and as
  far as the fleet is busy that evicts in turn: loss = p + rho p^2 + ... = p / (1 - rho p).
- lasting: what many prompts begin with will serve them all from a further copy, and counts in part.

So an idle fleet takes the fastest answer, and the busier it is and the scarcer its memory, the more it counts to
compute and keep nothing twice: sticky until saturated, with no threshold to set. What is within the accuracy of the
prediction counts as equal: then a warm replica goes first, else the one that holds least, so that caches fill evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score

_MAX_BUSY = 0.9
"""A fleet that is busier than that is overloaded: the formula's infinity would say nothing about by how much."""
_BATCH_S = 0.005
"""Prior: what each request in its batch costs a replica that takes one more, in seconds."""
_EQUAL_S, _EQUAL_SHARE = 0.020, 0.02
_WARM_SHARE = 0.5


class PrefixKvAware:
    """See the module's text for the rule."""

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        prompt_tokens = demand.prompt_tokens
        busy = min(_MAX_BUSY, sum(c.utilisation for c in candidates) / len(candidates))
        delay = _delay(busy, len(candidates))
        scores = [_score(candidate, prompt_tokens, busy, delay) for candidate in candidates]
        scores.sort(key=_by_cost)
        warm_tokens = max(1.0, _WARM_SHARE * prompt_tokens)
        _settle_ties(scores, warm_tokens)
        warmest = max(c.matched_tokens for c in candidates)
        if warmest < warm_tokens:
            reason = "spread"
        elif scores[0].candidate.matched_tokens >= warm_tokens:
            reason = "warm"
        else:
            reason = "saturated"
        return Ranking("prefix_kv_aware", reason, demand, tuple(scores))


def _delay(busy: float, count: int) -> float:
    """Request-seconds of waiting that a second of work costs others: the derivative of Sakasegawa's queue length."""
    power, idle = math.sqrt(2 * (count + 1)), 1 - busy
    return float(power * busy ** (power - 1) / idle + busy**power / idle**2) / count


def _score(candidate: Candidate, prompt_tokens: int, busy: float, delay: float) -> Score:
    own_s = candidate.uncached_tokens(prompt_tokens) / candidate.tokens_per_s
    loss = candidate.eviction_chance / (1 - busy * candidate.eviction_chance)
    copy_s = candidate.lasting_tokens / candidate.tokens_per_s * (delay + loss * (1 + delay))
    batch_s = _BATCH_S * candidate.inflight
    wait_s, base_s = candidate.wait_s, candidate.base_s
    terms = (("base_s", base_s), ("wait_s", wait_s), ("own_s", own_s), ("copy_s", copy_s), ("batch_s", batch_s))
    return Score(candidate, base_s + wait_s + own_s + copy_s + batch_s, terms=terms)


def _settle_ties(scores: list[Score], warm_tokens: float) -> None:
    """Orders those at the head that cost about the same."""
    limit = scores[0].cost * (1 + _EQUAL_SHARE) + _EQUAL_S
    equal = 1
    while equal < len(scores) and scores[equal].cost <= limit:
        equal += 1
    if equal > 1:

        def place(score: Score) -> tuple[bool, int, int]:
            candidate = score.candidate
            return candidate.matched_tokens < warm_tokens, candidate.held_tokens, candidate.turn

        scores[:equal] = sorted(scores[:equal], key=place)


def _by_cost(score: Score) -> float:
    return score.cost

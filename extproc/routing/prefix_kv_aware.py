"""The replica from which the first token is expected soonest, with an eye to those who come after.

    ttft_s(r) = base_s + wait_s + restore_s + own_s
    own_s     = computed tokens / prefill speed
    restore_s = sum of restored tokens / restore rate over tiers
    cost(r)   = ttft_s + copy_s + batch_s - credit_s
    copy_s    = worth * (lasting_s * delay + kept_tokens * loss_s * (1 + delay))
    lasting_s = own_s + restore_s, shared tokens counted in part

`wait_s` is the work queued ahead; `base_s`, speed and rates are learned of each replica. What is neither in the
replica's cache nor in a tier behind it, host or remote, is computed; what only a tier has is restored from the nearest
that has it, unless computing it is faster. `copy_s` is what it costs others that this prompt is computed or restored,
and kept, here:

- worth: the replica's prefill speed over the fleet's mean. A second of a slow replica is a smaller part of what the
  fleet can do: a prompt takes as much from others wherever it is computed, and to be slow costs only whoever waits.
- delay: request-seconds that a second of extra work makes others wait. In a fleet of n replicas that is busy for a
  share rho of the time, about L = rho^sqrt(2 (n + 1)) / (1 - rho) requests wait (Sakasegawa, 1977); a second of work
  raises rho by 1 / n of a second's worth, so delay = (dL / d rho) / n.
- loss_s: each token kept here, computed or restored, evicts another. That one is used again with the chance p: with
  q_t, a part of p, while tier t still has it and no nearer one, so that it is restored from there, and else it is
  computed again. As far as the fleet is busy that evicts in turn: loss_s = back_s + rho p back_s + ... =
  back_s / (1 - rho p), with back_s = sum of q_t / restore rate of t + (p - sum of q_t) / prefill speed. Without tiers,
  the sums are 0.
- lasting: what many prompts begin with will serve them all from a further copy, and counts in part.

`credit_s` is what others save: they pay for the copy in part, as far as they wait less here than where the copies are.
A replica that is busy for a share rho of the time makes a prompt wait W = rho / (1 - rho) * its mean work (M/M/1). With
gain = half the difference, since it shrinks to nothing as load moves over, and new = own + restore, credit =
(new - lasting) * min(1, gain / lasting): of new / lasting who share, each other one gives what it saves, and lasting at
most.

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
        fleet_tokens_per_s = sum(c.tokens_per_s for c in candidates)
        busy = min(_MAX_BUSY, sum(c.utilisation * c.tokens_per_s for c in candidates) / fleet_tokens_per_s)
        usual_tokens_per_s = fleet_tokens_per_s / len(candidates)
        delay = _delay(busy, len(candidates))
        reused = [candidate.reused_tokens for candidate in candidates]
        gains_s = _gains_s(candidates, reused)
        scores = [
            _score(candidate, max(0, prompt_tokens - reused_tokens), busy, delay, gain_s, usual_tokens_per_s)
            for candidate, reused_tokens, gain_s in zip(candidates, reused, gains_s, strict=True)
        ]
        scores.sort(key=_by_cost)
        warm_tokens = max(1.0, _WARM_SHARE * prompt_tokens)
        _settle_ties(scores, warm_tokens)
        warmest = max(reused)
        if warmest < warm_tokens:
            reason = "spread"
        elif scores[0].candidate.reused_tokens >= warm_tokens:
            reason = "warm"
        else:
            reason = "saturated"
        return Ranking("prefix_kv_aware", reason, demand, tuple(scores))


def _delay(busy: float, count: int) -> float:
    """Request-seconds of waiting that a second of work costs others: the derivative of Sakasegawa's queue length."""
    power, idle = math.sqrt(2 * (count + 1)), 1 - busy
    return float(power * busy ** (power - 1) / idle + busy**power / idle**2) / count


def _gains_s(candidates: Sequence[Candidate], reused: Sequence[int]) -> list[float]:
    """For each, the seconds that those who share the prompt would save there, against where more of it is held.

    Args:
        reused: prompt tokens that each would not compute.
    """
    gains = [0.0] * len(candidates)
    if min(reused) == max(reused):
        return gains
    queues = [_queue_s(candidate) for candidate in candidates]
    level, more = max(reused), False  # whether any that were seen hold more than those at this level
    least = least_so_far = math.inf  # of those that hold more; of those seen
    for place in sorted(range(len(candidates)), key=reused.__getitem__, reverse=True):
        if reused[place] != level:
            level, least, more = reused[place], least_so_far, True
        if more:
            gains[place] = max(0.0, least - queues[place]) / 2
        least_so_far = min(least_so_far, queues[place])
    return gains


def _queue_s(candidate: Candidate) -> float:
    """Seconds that a prompt waits there on average, as busy as it was lately."""
    if not candidate.arrivals_per_s:
        return 0.0
    busy = min(_MAX_BUSY, candidate.utilisation)
    return busy / (1 - busy) * candidate.utilisation / candidate.arrivals_per_s


def _score(
    candidate: Candidate, computed_tokens: int, busy: float, delay: float, gain_s: float, usual_tokens_per_s: float
) -> Score:
    own_s = computed_tokens / candidate.tokens_per_s
    token_s = 1 / candidate.tokens_per_s
    back_s = candidate.eviction_chance * token_s
    lasting_s, kept_tokens, restore_s = candidate.lasting_tokens * token_s, candidate.lasting_tokens, 0.0
    restorable = False
    if candidate.behind:
        for tier in candidate.behind:
            restorable = restorable or tier.tokens > 0
            restored_token_s = min(token_s, 1 / tier.tokens_per_s)
            back_s -= tier.retrieval_chance * (token_s - restored_token_s)
            lasting_s += tier.lasting_tokens * restored_token_s
            kept_tokens += tier.lasting_tokens
        restore_s = candidate.restore_s if restorable else 0.0
    loss_s = back_s / (1 - busy * candidate.eviction_chance)
    worth = candidate.tokens_per_s / usual_tokens_per_s
    copy_s = worth * (lasting_s * delay + kept_tokens * loss_s * (1 + delay))
    new_s = own_s + restore_s
    credit_s = max(0.0, new_s - lasting_s) * min(1.0, gain_s / lasting_s) if lasting_s else 0.0
    batch_s = _BATCH_S * candidate.inflight
    wait_s, base_s = candidate.wait_s, candidate.base_s
    cost = base_s + wait_s + new_s + copy_s + batch_s - credit_s
    terms = (
        ("base_s", base_s),
        ("wait_s", wait_s),
        ("own_s", own_s),
        ("copy_s", copy_s),
        ("batch_s", batch_s),
        ("credit_s", 0.0 - credit_s),
    )
    if restorable:
        return Score(candidate, cost, terms=(*terms, ("restore_s", restore_s)))
    return Score(candidate, cost, terms=terms)


def _settle_ties(scores: list[Score], warm_tokens: float) -> None:
    """Orders those at the head that cost about the same."""
    limit = scores[0].cost * (1 + _EQUAL_SHARE) + _EQUAL_S
    equal = 1
    while equal < len(scores) and scores[equal].cost <= limit:
        equal += 1
    if equal > 1:

        def place(score: Score) -> tuple[bool, int, int]:
            candidate = score.candidate
            return candidate.reused_tokens < warm_tokens, candidate.held_tokens, candidate.turn

        scores[:equal] = sorted(scores[:equal], key=place)


def _by_cost(score: Score) -> float:
    return score.cost

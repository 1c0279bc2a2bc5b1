"""The replica whose requests have lately been over soonest, in proportion to what it has in flight.

After the peak-EWMA balancer of Finagle:

    cost = latency_s * (inflight + 1) * current
    current = min(1, arrivals_per_s / (0.1 * mean arrivals_per_s of the candidates))

`latency_s` is an exponentially weighted mean over the requests served (`routing.latency_ewma_alpha`). It learns from
requests alone, so a replica that was slow once and is passed over ever since would never be seen to have recovered.
Hence `current`: a mean counts less once its replica gets less than a tenth of a fair share of the requests. One that
would cost k times what the others do is so left with about 0.1 / k of a fair share. Arrivals are compared, not times:
this holds for a model that is asked for often as for one that is not.

A replica without a mean is presumed to be as fast as the fastest: it is tried before an equal, and not flooded before
it has answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.routing.ranking import Candidate, Demand, Ranking, Score

_CURRENT_SHARE = 0.1
"""Of a fair share of the requests: a replica that gets as much is measured often enough."""


class Latency:
    """See the module's text for the rule."""

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        fastest_s = min((c.latency_s for c in candidates if c.latency_s is not None), default=1.0)
        enough_per_s = _CURRENT_SHARE * sum(c.arrivals_per_s for c in candidates) / len(candidates)
        scores = []
        for candidate in candidates:
            latency_s, current, note = fastest_s, 1.0, "unmeasured"
            if candidate.latency_s is not None:
                latency_s, note = candidate.latency_s, ""
                if candidate.arrivals_per_s < enough_per_s:
                    current, note = candidate.arrivals_per_s / enough_per_s, "out_of_date"
            cost = latency_s * (candidate.inflight + 1) * current
            scores.append(Score(candidate, cost, note, terms=(("latency_s", latency_s), ("current", current))))
        scores.sort(key=_place)
        return Ranking("latency", scores[0].note or "fastest", demand, tuple(scores))


def _place(score: Score) -> tuple[float, bool, int, int]:
    candidate = score.candidate
    return score.cost, candidate.latency_s is not None, candidate.inflight, candidate.turn

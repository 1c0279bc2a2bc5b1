"""From what became of each request to the numbers of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench.common.spread import percentile
from bench.routing.drive import Run

_CDF_POINTS = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on one configuration. TTFT and latency are from arrival; refused requests have none.

    Args:
        hit_rate: prompt tokens that the engines found in their caches, as a share of all.
        balance: busy time of the busiest replica over the mean; 1 is even.
        request_balance: the same of numbers of requests.
        ttft_cdf_s: the TTFT that a share of i / 200 of the requests stay within, for i from 0 to 200.
        notes: what the policy says of itself.
    """

    requests: int
    refused: int
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    e2e_mean_s: float
    hit_rate: float
    requests_per_s: float
    output_tokens_per_s: float
    balance: float
    request_balance: float
    preemptions: int
    duration_s: float
    ttft_cdf_s: tuple[float, ...]
    notes: dict[str, float]

    @classmethod
    def of(cls, run: Run, notes: dict[str, float]) -> Outcome:
        served = [each for each in run.served if each.replica >= 0]
        ttfts_s = sorted(each.first_s - each.arrived_s for each in served) or [0.0]
        count = max(1, len(served))
        prompt_tokens = max(1, sum(each.request.prompt_tokens for each in served))
        duration_s = max(run.ended_s, 1e-9)
        return cls(
            requests=len(served),
            refused=run.refused,
            ttft_mean_s=sum(ttfts_s) / count,
            ttft_p50_s=percentile(ttfts_s, 0.5),
            ttft_p95_s=percentile(ttfts_s, 0.95),
            ttft_p99_s=percentile(ttfts_s, 0.99),
            e2e_mean_s=sum(each.finished_s - each.arrived_s for each in served) / count,
            hit_rate=sum(each.cached_tokens for each in served) / prompt_tokens,
            requests_per_s=len(served) / duration_s,
            output_tokens_per_s=sum(each.request.output_tokens for each in served) / duration_s,
            balance=_unevenness(run.busy_s),
            request_balance=_unevenness([float(each) for each in run.requests]),
            preemptions=run.preemptions,
            duration_s=duration_s,
            ttft_cdf_s=tuple(
                round(ttfts_s[min(len(ttfts_s) - 1, place * len(ttfts_s) // _CDF_POINTS)], 6)
                for place in range(_CDF_POINTS + 1)
            ),
            notes=notes,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Outcome:
        return cls(**{**document, "ttft_cdf_s": tuple(document["ttft_cdf_s"])})


def _unevenness(values: list[float]) -> float:
    total = sum(values)
    return max(values) * len(values) / total if total else 1.0

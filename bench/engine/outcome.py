"""Replies and counters of one cell -> the numbers that are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.common.chat import Reply
from bench.common.spread import percentile
from bench.engine.counters import share, total

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One cell.

    Args:
        ttft_ms: of every request that was answered, to the first chunk of the stream.
        first_visit_p50_ms: of requests about an image that was not asked about before; nan where that is unknown.
        later_visit_p50_ms: of the others.
        requests_per_s: over the whole cell.
        engine_hit_rate: of the prompt tokens that engines looked up, those in their own cache: their counters.
        offload_hit_rate: of those that they then looked up in LMCache, those found there: their counters.
        computed_tokens: prompt tokens that the engines computed: their counters.
        cached_share: cached over prompt tokens, as `usage` of the replies says: any tier.
        imbalance: busiest replica over the mean, minus 1, in requests.
        preemptions: requests thrown out of a full KV cache and begun again.
    """

    ttft_ms: tuple[float, ...]
    ttft_p50_ms: float
    ttft_p95_ms: float
    ttft_p99_ms: float
    first_visit_p50_ms: float
    later_visit_p50_ms: float
    requests_per_s: float
    engine_hit_rate: float
    offload_hit_rate: float
    computed_tokens: float
    cached_share: float
    requests: dict[str, int]
    imbalance: float
    preemptions: float
    failures: int

    def as_json(self) -> dict[str, Any]:
        """Without the numbers that could not be taken."""
        return {name: value for name, value in asdict(self).items() if value == value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Outcome:
        taken = {name: document.get(name, _NAN) for name in cls.__dataclass_fields__}
        return cls(**{**taken, "ttft_ms": tuple(document["ttft_ms"])})


def of_replies(
    replies: Sequence[Reply], visits: Sequence[int], wall_s: float, counted: Mapping[str, Mapping[str, float]]
) -> Outcome:
    """Of requests that this process sent.

    Args:
        visits: how many times each one's image was asked about before.
        counted: what each replica's counters grew by.
    """
    answered = [(reply, visit) for reply, visit in zip(replies, visits, strict=True) if not reply.failure]
    prompt_tokens = sum(reply.prompt_tokens for reply, _ in answered)
    cached_tokens = sum(reply.cached_tokens for reply, _ in answered)
    return of_times(
        [reply.first_chunk_s * 1000 for reply, _ in answered],
        wall_s,
        counted,
        first_visit_p50_ms=percentile([reply.first_chunk_s * 1000 for reply, visit in answered if not visit], 0.5),
        later_visit_p50_ms=percentile([reply.first_chunk_s * 1000 for reply, visit in answered if visit], 0.5),
        cached_share=cached_tokens / prompt_tokens if prompt_tokens else _NAN,
        requests=_by_replica([reply.replica for reply, _ in answered], counted),
        failures=len(replies) - len(answered),
    )


def of_times(
    ttft_ms: Sequence[float],
    wall_s: float,
    counted: Mapping[str, Mapping[str, float]],
    *,
    requests: dict[str, int],
    failures: int,
    first_visit_p50_ms: float = _NAN,
    later_visit_p50_ms: float = _NAN,
    cached_share: float = _NAN,
) -> Outcome:
    """Of requests that somebody timed."""
    engines = total(counted.values())
    external = "vllm:external_prefix_cache"
    mean = sum(requests.values()) / len(requests) if requests else 0.0
    return Outcome(
        ttft_ms=tuple(round(each, 1) for each in ttft_ms),
        ttft_p50_ms=percentile(ttft_ms, 0.50),
        ttft_p95_ms=percentile(ttft_ms, 0.95),
        ttft_p99_ms=percentile(ttft_ms, 0.99),
        first_visit_p50_ms=first_visit_p50_ms,
        later_visit_p50_ms=later_visit_p50_ms,
        requests_per_s=len(ttft_ms) / wall_s,
        engine_hit_rate=share(engines, "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
        offload_hit_rate=share(engines, f"{external}_hits_total", f"{external}_queries_total"),
        computed_tokens=engines.get("vllm:request_prefill_kv_computed_tokens_sum", 0.0),
        cached_share=cached_share,
        requests=requests,
        imbalance=max(requests.values()) / mean - 1 if mean else _NAN,
        preemptions=engines.get("vllm:num_preemptions_total", 0.0),
        failures=failures,
    )


def _by_replica(served_by: Sequence[str], replicas: Collection[str]) -> dict[str, int]:
    counted = Counter(served_by)
    return {name: counted[name] for name in sorted({*replicas, *counted})}

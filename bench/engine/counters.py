"""The engines' own counters, before and after: the proof beside what clients measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Counters = Mapping[str, float]
"""Sample name, with the label that tells its kinds apart -> value."""

FINISHED = "vllm:request_prefill_kv_computed_tokens_count"
"""Requests that an engine answered to the end."""

_KEPT = (
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:external_prefix_cache_queries_total",
    "vllm:external_prefix_cache_hits_total",
    "vllm:mm_cache_queries_total",
    "vllm:mm_cache_hits_total",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:prompt_tokens_by_source_total",
    "vllm:prompt_tokens_cached_total",
    "vllm:prompt_tokens_cached_by_source_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:request_prefill_kv_computed_tokens_sum",
    FINISHED,
    "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_count",
)
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_KIND = re.compile(r'\b(?:source|finished_reason)="([^"]*)"')


def read(page: str) -> dict[str, float]:
    """A metrics page -> the counters kept of it, `name` or `name{source}`, summed over other labels."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or sample[1] not in _KEPT:
            continue
        kind = _KIND.search(sample[2] or "")
        name = f"{sample[1]}{{{kind[1]}}}" if kind else sample[1]
        found[name] = found.get(name, 0.0) + float(sample[3])
    return found


def read_redis(info: str) -> dict[str, float]:
    """Redis's INFO -> what tells of reading."""
    known = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return {f"redis:{name}": float(known[name]) for name in ("keyspace_hits", "total_net_output_bytes")}


def growth(before: Counters, after: Counters) -> dict[str, float]:
    """What was counted in between; what did not move is left out."""
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in grown.items() if value}


def total(each: Iterable[Counters]) -> dict[str, float]:
    """The sum over replicas."""
    summed: dict[str, float] = {}
    for counters in each:
        for name, value in counters.items():
            summed[name] = summed.get(name, 0.0) + value
    return summed


def share(counters: Counters, hits: str, queries: str) -> float:
    """Hits over queries; nan without queries."""
    asked = counters.get(queries, 0.0)
    return counters.get(hits, 0.0) / asked if asked else float("nan")

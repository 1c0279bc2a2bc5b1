"""What each kind of engine offers, and how it is spoken to: the one place that knows engines apart.

Where it comes from. vLLM: docs/usage/metrics and the OpenAI-compatible server of 0.32; `gpu_cache_usage_perc` is what
older releases call `kv_cache_usage_perc`. SGLang: metrics/collector.py, disaggregation/kv_events.py and
entrypoints/openai/{protocol,serving_base}.py below python/sglang/srt, and docs/references/production_metrics.md. TGI:
its reference of metrics; it says nothing of its cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

EngineKind = Literal["vllm", "sglang", "tgi", "openai"]


@dataclass(frozen=True, slots=True)
class InfoMetric:
    """A metric that carries figures as labels.

    Args:
        kv_tokens: the label with the KV tokens of a rank.
        kv_blocks: with the KV blocks of **all** ranks: vLLM's front end adds them up (`_apply_ready_response` in
            vllm/v1/engine/core_client.py) and repeats the sum for every rank.
    """

    metric: bytes
    block_size: str
    kv_tokens: str = ""
    kv_blocks: str = ""


@dataclass(frozen=True, slots=True)
class MetricNames:
    """What an engine calls things on its metrics page. Of several names of one thing, the first that is there counts.

    Args:
        rank: the label that tells data-parallel ranks apart.
        info: where to look for what has no metric of its own.
    """

    rank: str
    running: bytes
    waiting: bytes
    kv_usage: tuple[bytes, ...] = ()
    kv_tokens: tuple[bytes, ...] = ()
    block_size: tuple[bytes, ...] = ()
    info: InfoMetric | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of engine.

    Args:
        metrics: None: it has no metrics page that is understood.
        health_path: answers 200 when it can serve, unless configured otherwise; empty: there is none.
        metrics_path: likewise, where it tells its load.
        kv_events: whether it publishes what it stores and evicts, as vLLM does.
        chooses_ranks: whether the request header `RANK_HEADER` chooses a data-parallel rank.
        cache_salt: whether `cache_salt` in a body keeps the blocks of a prompt apart from others'.
        media_uuids: whether a `uuid` beside a media part is taken as that part's identity.
    """

    metrics: MetricNames | None = None
    health_path: str = ""
    metrics_path: str = ""
    kv_events: bool = False
    chooses_ranks: bool = False
    cache_salt: bool = False
    media_uuids: bool = False


RANK_HEADER = "x-data-parallel-rank"
"""What names the rank that is to serve; Envoy takes a client's own off."""

ENGINES: Mapping[EngineKind, Engine] = MappingProxyType(
    {
        "vllm": Engine(
            metrics=MetricNames(
                rank="engine",
                running=b"vllm:num_requests_running",
                waiting=b"vllm:num_requests_waiting",
                kv_usage=(b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
                info=InfoMetric(
                    b"vllm:cache_config_info",
                    block_size="block_size",
                    kv_tokens="kv_cache_size_tokens",
                    kv_blocks="num_gpu_blocks",
                ),
            ),
            health_path="/health",
            metrics_path="/metrics",
            kv_events=True,
            chooses_ranks=True,
            cache_salt=True,
            media_uuids=True,
        ),
        "sglang": Engine(
            metrics=MetricNames(
                rank="dp_rank",
                running=b"sglang:num_running_reqs",
                waiting=b"sglang:num_queue_reqs",
                kv_usage=(b"sglang:token_usage",),
                kv_tokens=(b"sglang:max_total_num_tokens",),
                block_size=(b"sglang:page_size",),
                info=InfoMetric(b"sglang:cache_config_info", block_size="page_size"),
            ),
            health_path="/health",
            metrics_path="/metrics",
            kv_events=True,
            chooses_ranks=True,
            cache_salt=True,
        ),
        "tgi": Engine(
            metrics=MetricNames(rank="", running=b"tgi_batch_current_size", waiting=b"tgi_queue_size"),
            health_path="/health",
            metrics_path="/metrics",
        ),
        "openai": Engine(),
    }
)
"""By kind. `openai` is whatever speaks OpenAI's API and promises nothing beyond it."""

"""/metrics in the Prometheus text format, under vLLM's names."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

from extproc.sim.requests import EngineStats
from extproc.sim.settings import EngineSettings

# vLLM's buckets of time_to_first_token_seconds.
_TTFT_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)


class Histogram:
    """Counts of observations in buckets, with their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        bounds = (*map(str, self._bounds), "+Inf")
        cumulative = list(accumulate(self._counts))
        lines = [
            f'{name}_bucket{{{labels},le="{bound}"}} {count}' for bound, count in zip(bounds, cumulative, strict=True)
        ]
        return [*lines, f"{name}_sum{{{labels}}} {self._sum}", f"{name}_count{{{labels}}} {cumulative[-1]}"]


class Metrics:
    """The replica's own measurements; the engine's are read when /metrics is."""

    def __init__(self, model: str, engine: EngineSettings) -> None:
        self._labels = f'engine="0",model_name="{_escape(model)}"'
        self._engine = engine
        self.ttft_s = Histogram(_TTFT_BUCKETS_S)
        self.finished: Counter[str] = Counter()

    def render(self, stats: EngineStats) -> str:
        lines: list[str] = []
        gauges: dict[str, tuple[str, float]] = {
            "num_requests_running": ("Number of requests in model execution batches.", stats.running),
            "num_requests_waiting": ("Number of requests waiting to be processed.", stats.waiting),
            "kv_cache_usage_perc": ("KV-cache usage. 1 means 100 percent usage.", stats.kv_usage),
        }
        counters: dict[str, tuple[str, float]] = {
            "prefix_cache_queries": ("Prefix cache queries, in tokens.", stats.prefix_queries),
            "prefix_cache_hits": ("Prefix cache hits, in tokens.", stats.prefix_hits),
            "num_preemptions": ("Preemptions.", stats.preemptions),
            "prompt_tokens": ("Prefill tokens processed.", stats.prompt_tokens),
            "generation_tokens": ("Generation tokens processed.", stats.generation_tokens),
        }
        for name, (text, value) in gauges.items():
            lines += _head(name, text, "gauge")
            lines.append(f"vllm:{name}{{{self._labels}}} {float(value)}")
        for name, (text, value) in counters.items():
            lines += _head(f"{name}_total", text, "counter")
            lines.append(f"vllm:{name}_total{{{self._labels}}} {float(value)}")
        lines += _head("request_success_total", "Successfully processed requests.", "counter")
        for reason in ("stop", "length", "abort"):
            count = float(self.finished[reason])
            lines.append(f'vllm:request_success_total{{{self._labels},finished_reason="{reason}"}} {count}')
        lines += _head("time_to_first_token_seconds", "Time to first token in seconds.", "histogram")
        lines += self.ttft_s.lines("vllm:time_to_first_token_seconds", self._labels)
        lines += self._cache_config()
        return "\n".join(lines) + "\n"

    def _cache_config(self) -> list[str]:
        fields = {
            "block_size": self._engine.block_size,
            "enable_prefix_caching": True,
            "kv_cache_size_tokens": self._engine.kv_tokens,
            "num_gpu_blocks": self._engine.kv_blocks,
        }
        labels = ",".join(f'{name}="{value}"' for name, value in fields.items())
        return [
            *_head("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge"),
            f'vllm:cache_config_info{{{labels},engine="0"}} 1.0',
        ]


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}"]


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

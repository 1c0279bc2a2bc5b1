"""/metrics in the Prometheus text format, under vLLM's names."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

from extproc.sim.requests import EngineStats
from extproc.sim.settings import EngineSettings

# vLLM's buckets of time_to_first_token_seconds.
_TTFT_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)


Head = tuple[str, str, str]
"""A metric's name, its text and its kind."""


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
    """One rank's own measurements; its engine's are read when /metrics is.

    Args:
        ranks: how many there are; each says the KV blocks of all together, as vLLM's front end does.
    """

    def __init__(self, model: str, engine: EngineSettings, rank: int = 0, ranks: int = 1) -> None:
        self._rank = rank
        self._ranks = ranks
        self._labels = f'engine="{rank}",model_name="{_escape(model)}"'
        self._engine = engine
        self.ttft_s = Histogram(_TTFT_BUCKETS_S)
        self.finished: Counter[str] = Counter()

    def lines(self, stats: EngineStats) -> Iterator[tuple[Head, list[str]]]:
        """Each metric: its name, text and kind, and the lines of this rank."""
        for name, text, value in (
            ("num_requests_running", "Number of requests in model execution batches.", stats.running),
            ("num_requests_waiting", "Number of requests waiting to be processed.", stats.waiting),
            ("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", stats.kv_usage),
        ):
            yield (name, text, "gauge"), [f"vllm:{name}{{{self._labels}}} {float(value)}"]
        for name, text, value in (
            ("prefix_cache_queries", "Prefix cache queries, in tokens.", stats.prefix_queries),
            ("prefix_cache_hits", "Prefix cache hits, in tokens.", stats.prefix_hits),
            ("num_preemptions", "Preemptions.", stats.preemptions),
            ("prompt_tokens", "Prefill tokens processed.", stats.prompt_tokens),
            ("generation_tokens", "Generation tokens processed.", stats.generation_tokens),
        ):
            yield (f"{name}_total", text, "counter"), [f"vllm:{name}_total{{{self._labels}}} {float(value)}"]
        ended = [(reason, float(self.finished[reason])) for reason in ("stop", "length", "abort")]
        yield (
            ("request_success_total", "Successfully processed requests.", "counter"),
            [f'vllm:request_success_total{{{self._labels},finished_reason="{why}"}} {count}' for why, count in ended],
        )
        yield (
            ("time_to_first_token_seconds", "Time to first token in seconds.", "histogram"),
            self.ttft_s.lines("vllm:time_to_first_token_seconds", self._labels),
        )
        yield ("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge"), [self._cache_config()]

    def _cache_config(self) -> str:
        fields = {
            "block_size": self._engine.block_size,
            "enable_prefix_caching": True,
            "kv_cache_size_tokens": self._engine.kv_tokens,
            "num_gpu_blocks": self._engine.kv_blocks * self._ranks,
        }
        labels = ",".join(f'{name}="{value}"' for name, value in fields.items())
        return f'vllm:cache_config_info{{{labels},engine="{self._rank}"}} 1.0'


def render(ranks: Iterable[tuple[Metrics, EngineStats]]) -> str:
    """The page of a replica: each metric once, with the lines of all its ranks."""
    page: dict[Head, list[str]] = {}
    for metrics, stats in ranks:
        for head, lines in metrics.lines(stats):
            page.setdefault(head, []).extend(lines)
    return "\n".join(line for head, lines in page.items() for line in (*_head(*head), *lines)) + "\n"


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}"]


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

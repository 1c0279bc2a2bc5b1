"""docs/metrics.md, written from the metrics of a processor: `make docs`, or `python -m tools.metrics_reference`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from extproc.config.build import build
from extproc.config.settings import Settings
from extproc.server import Configuration, Processor
from extproc.telemetry.instruments import MOST_MODELS, MOST_SERIES, OTHER, Family

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_TITLES = (
    *("Traffic and cost", "Routing", "Saved and computed", "Tenants and steps", "Fleet", "Precise mode"),
    *("Processor latency", "What it leans on", "Process", "OpenTelemetry GenAI"),
)
_INTRODUCTION = f"""\
# Metrics

Written from the processor's own metrics by `make docs`; a test compares the two. `GET /metrics` on the operations
listener (`http://127.0.0.1:8081/metrics`), in Prometheus' text format. Times are in seconds, costs in US dollars;
what is called tokens is counted by engines unless the text says that it is estimated.

[deploy/prometheus](../deploy/prometheus/prometheus.yml) has the scrape configuration, recording rules and alerts,
[operations.md](operations.md) what to do about each alert, [deploy/grafana](../deploy/grafana) a dashboard.

**Several gateways.** A gateway has one processor, which is one process and one thread: there are no workers behind
one port whose counts would have to be merged. Several gateways are several targets: Prometheus gives each an
`instance`, and every rule and panel sums over it (`sum by (model) (rate(...))`). Counters begin at 0 when a
processor starts, which `rate` knows. What is counted is what passed through that gateway; `kvgate_budget_spent_usd`
is the spend of all that share a Redis, so take its `max`, not its sum.

**How many series.** Labels are names from the configuration (models, providers, replicas), from code (codes,
phases, caches) and statuses. A name that a client invents is refused before it is counted. Tenants may come from a
JWT: beyond {MOST_SERIES:,} of them, the rest is `{OTHER}`. The same holds beyond {MOST_MODELS} models, for who
reloads with new ones for weeks. A replica that is gone leaves no series behind.

**What it costs.** About 3.5 µs a request: counts are attributes, and text is made at the scrape (6 ms with 200
replicas and 1,000 tenants).

**The incorrect-routing rate** is explained in the [user guide](guide.md#metrics).
"""
_NOTES = {
    "OpenTelemetry GenAI": """\
Names, attributes and buckets of the [semantic
conventions](https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/) v1.37.0, which call themselves *in
development*. In Prometheus dots are underscores and seconds a suffix. `gen_ai_provider_name` is the name in
`providers`, since no well-known value says vLLM; `error_type` is there for failures only.
""",
    "Saved and computed": """\
Seconds are those of prefill, at the speed learned from times to first token: an answer that was kept also saves its
generation, which is counted in tokens only. They are added when somebody asks.
""",
}


def page() -> str:
    """The page."""
    return asyncio.run(_page())


async def _page() -> str:
    by_title: dict[str, list[Family]] = {}
    for each in _processor().metrics.pages:
        by_title.setdefault(each.title, []).extend(each.families())
    if by_title.keys() != set(_TITLES):
        raise ValueError(f"{by_title.keys() ^ set(_TITLES)}: say here where that goes")
    sections = [_section(title, by_title[title]) for title in _TITLES]
    return "\n".join([_INTRODUCTION, *sections])


def _section(title: str, families: list[Family]) -> str:
    note = f"{_NOTES[title]}\n" if title in _NOTES else ""
    return f"## {title}\n\n{note}" + "\n".join(_table(families)) + "\n"


def _table(families: list[Family]) -> Iterator[str]:
    yield "| metric | type | labels | |"
    yield "|---|---|---|---|"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| `{family.name}` | {family.kind} | {labels} | {family.text.replace('|', '&#124;')} |"


def _processor() -> Processor:
    """One with everything that can be turned on; it is not started."""
    redis = {"enabled": True, "backend": "redis", "redis_url": "redis://127.0.0.1:6379/0"}
    settings = Settings.model_validate(
        {
            "providers": [{"name": "p", "replicas": [{"name": "a", "url": "http://127.0.0.1:8000"}]}],
            "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
            "ratelimit": redis,
            "budget": redis,
        }
    )
    return Processor(Configuration(settings, build(settings)))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

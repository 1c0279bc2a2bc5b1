"""Metrics in Prometheus' text format: what came of requests (counted as it happens) and the fleet (read when asked)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from extproc.fleet.outcome import Outcome
from extproc.metering.metering import Metered
from extproc.telemetry.routing_quality import RoutingQuality
from extproc.telemetry.traffic import Traffic


class _WithoutBirths(Collector):
    """A registry less the `_created` series: one more a counter and histogram, which nobody plots."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """All metrics of one processor. Labels take configured names only, so their number is bounded.

    Args:
        block_size: tokens of text in a fingerprint block, as configured now.
    """

    def __init__(self, block_size: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._quality = RoutingQuality(self._registry, block_size)
        self._traffic = Traffic(self._registry)
        self._decisions = Counter(
            "kvgate_routing_decisions_total",
            "Requests sent on, by model, provider of the first choice, and the engine's name for the model.",
            ["model", "provider", "upstream_model"],
            registry=self._registry,
        )

    def observe(self, outcome: Outcome) -> None:
        """Counts a request that was served."""
        self._quality.observe(outcome)

    def metered(self, metered: Metered) -> None:
        """Counts a request that has ended, by what it took."""
        self._traffic.observe(metered)

    def looked_up(self, outcome: str) -> None:
        """Counts a look-up for an answer given before."""
        self._traffic.looked_up(outcome)

    def refused(self, code: str, status: int, tenant: str) -> None:
        """Counts a request that the gateway refused."""
        self._traffic.refused(code, status, tenant)

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        """Counts a request that was sent on."""
        self._decisions.labels(model, provider, upstream_model).inc()

    def watch(self, page: Collector) -> None:
        """Includes what is read when asked."""
        self._registry.register(page)

    def exposition(self) -> bytes:
        """The page to scrape."""
        return generate_latest(_WithoutBirths(self._registry))

"""What clients asked for and got, and what it cost: counted as it happens, under the names that dashboards know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from extproc.metering.metering import Metered

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_NUSD_PER_USD = 1_000_000_000
_MOST_TENANTS = 1000
_OTHER = "other"


class Traffic:
    """Counts requests by model, and refusals by tenant. Models are configured names; tenants are bounded in number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)

        self._requests = counter(
            "kvgate_requests_total", "Requests that were sent to a replica and have ended.", "model", "status", "stream"
        )
        self._latency_s = histogram("kvgate_request_latency_seconds", "Until the client had the last byte.", "model")
        self._upstream_s = histogram(
            "kvgate_upstream_latency_seconds", "Until the replica had sent its last byte.", "provider", "model"
        )
        self._tokens = counter(
            "kvgate_tokens_total", "Tokens by direction: input, cached (of the input), output.", "model", "direction"
        )
        self._estimated = counter(
            "kvgate_usage_estimated_total", "Answers that were billed by an estimate: their usage never came.", "model"
        )
        self._cost_usd = counter(
            "kvgate_estimated_cost_usd_total", "US dollars at configured prices.", "model", "provider"
        )
        self._failovers = counter("kvgate_routing_failovers_total", "Tries on another replica after the first.")
        self._cache_events = counter(
            "kvgate_cache_events_total", "Outcome of look-ups for an answer given before.", "outcome"
        )
        self._rate_limited = counter("kvgate_rate_limited_total", "Requests answered 429.", "tenant")
        self._over_budget = counter("kvgate_budget_rejected_total", "Requests answered 402.", "tenant")
        self._refused = counter("kvgate_refused_total", "Requests that the gateway refused, by code.", "code")
        self._tenants: set[str] = set()

    def observe(self, metered: Metered) -> None:
        """Counts a request that was sent to a replica."""
        model, end = metered.model, metered.end
        self._requests.labels(model, str(end.status), str(metered.stream).lower()).inc()
        self._latency_s.labels(model).observe(end.duration_s)
        if end.upstream_s is not None:
            self._upstream_s.labels(metered.provider, model).observe(end.upstream_s)
        self._tokens.labels(model, "input").inc(metered.prompt_tokens)
        self._tokens.labels(model, "cached").inc(metered.cached_tokens)
        self._tokens.labels(model, "output").inc(metered.completion_tokens)
        if metered.estimated:
            self._estimated.labels(model).inc()
        if metered.cost_nusd:
            self._cost_usd.labels(model, metered.provider).inc(metered.cost_nusd / _NUSD_PER_USD)
        if end.attempts > 1:
            self._failovers.inc(end.attempts - 1)

    def looked_up(self, outcome: str) -> None:
        """Counts a look-up: `exact_hit`, `semantic_hit`, `miss` or `bypass`."""
        self._cache_events.labels(outcome).inc()

    def refused(self, code: str, status: int, tenant: str) -> None:
        """Counts a request that the gateway answered with an error of its own."""
        self._refused.labels(code).inc()
        if status in (402, 429):
            (self._over_budget if status == 402 else self._rate_limited).labels(self._bounded(tenant)).inc()

    def _bounded(self, tenant: str) -> str:
        """A tenant's name; one for all that are too many. A JWT may bring any name."""
        if tenant not in self._tenants:
            if len(self._tenants) >= _MOST_TENANTS:
                return _OTHER
            self._tenants.add(tenant)
        return tenant


class PolicyPage(Collector):
    """What is read when asked: spend by tenant, and the time that each step of the request path took.

    Args:
        spent: nano-dollars in the window that is now, by tenant.
        timings: of each step: seconds in total, and requests.
    """

    def __init__(
        self, spent: Callable[[], Mapping[str, int]], timings: Callable[[], Mapping[str, tuple[float, int]]]
    ) -> None:
        self._spent = spent
        self._timings = timings

    def collect(self) -> Iterator[Metric]:
        spent = GaugeMetricFamily(
            "kvgate_budget_spent_usd", "US dollars spent in the budget window that is now.", labels=["tenant"]
        )
        for tenant, nusd in list(self._spent().items())[:_MOST_TENANTS]:
            spent.add_metric([tenant], nusd / _NUSD_PER_USD)
        yield spent
        steps = SummaryMetricFamily("kvgate_step_seconds", "Time in each step of the request path.", labels=["step"])
        for step, (seconds, requests) in self._timings().items():
            steps.add_metric([step], count_value=requests, sum_value=seconds)
        yield steps

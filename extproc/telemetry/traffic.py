"""What clients asked for and got, and what it cost: counted as it happens, under the names that dashboards know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from extproc.metering.metering import Metered
from extproc.telemetry.instruments import MOST_MODELS, MOST_SERIES, OTHER, Count, Counter, Family, Histogram, Reading

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_NUSD_PER_USD = 1_000_000_000
_MOST_TENANTS = MOST_SERIES


class Traffic:
    """Counts requests by model, and refusals by tenant. Models are configured names; a JWT may bring any tenant."""

    title = "Traffic and cost"

    def __init__(self) -> None:
        self._families = _Families()
        self._routes: dict[tuple[str, str], _Route] = {}

    def observe(self, metered: Metered) -> None:
        """Counts a request that was sent to a replica."""
        key = metered.model, metered.provider
        route = self._routes.get(key)
        if route is None:
            key = key if len(self._routes) < MOST_MODELS else (OTHER, OTHER)
            route = self._routes.setdefault(key, _Route(self._families, *key))
        route.observe(metered)

    def looked_up(self, outcome: str) -> None:
        """Counts a look-up: `exact_hit`, `semantic_hit`, `miss` or `bypass`."""
        self._families.cache_events.of(outcome).value += 1

    def refused(self, code: str, status: int, tenant: str) -> None:
        """Counts a request that the gateway answered with an error of its own."""
        families = self._families
        families.refused.of(code).value += 1
        if status in (402, 429):
            (families.over_budget if status == 402 else families.rate_limited).of(tenant).value += 1

    def families(self) -> Iterator[Family]:
        yield from vars(self._families).values()


class _Families:
    def __init__(self) -> None:
        self.requests = Counter(
            "kvgate_requests_total",
            "Requests that were sent to a replica and have ended.",
            *("model", "status", "stream"),
            most=5 * MOST_SERIES,
        )
        self.latency_s = Histogram(
            "kvgate_request_latency_seconds", "Until the client had the last byte.", _SECONDS, "model"
        )
        self.upstream_s = Histogram(
            "kvgate_upstream_latency_seconds",
            "Until the replica had sent its last byte.",
            _SECONDS,
            *("provider", "model"),
        )
        self.tokens = Counter(
            "kvgate_tokens_total",
            "Tokens by direction: input, cached (of the input), output.",
            *("model", "direction"),
            most=3 * MOST_SERIES,
        )
        self.estimated = Counter(
            "kvgate_usage_estimated_total", "Answers that were billed by an estimate: their usage never came.", "model"
        )
        self.cost_usd = Counter(
            "kvgate_estimated_cost_usd_total", "US dollars at configured prices.", "model", "provider"
        )
        self.failovers = Counter("kvgate_routing_failovers_total", "Tries on another replica after the first.")
        self.cache_events = Counter(
            "kvgate_cache_events_total",
            "Look-ups for an answer given before: exact_hit, semantic_hit, miss, or bypass (not looked up).",
            "outcome",
        )
        self.rate_limited = Counter("kvgate_rate_limited_total", "Requests answered 429.", "tenant")
        self.over_budget = Counter("kvgate_budget_rejected_total", "Requests answered 402.", "tenant")
        self.refused = Counter("kvgate_refused_total", "Requests that the gateway refused, by code.", "code")


class _Route:
    """The metrics of a model at a provider."""

    def __init__(self, families: _Families, model: str, provider: str) -> None:
        self._families = families
        self._model, self._provider = model, provider
        self._requests: dict[tuple[int, bool], Count] = {}
        self._latency_s = families.latency_s.of(model)
        self._upstream_s = families.upstream_s.of(provider, model)
        self._input = families.tokens.of(model, "input")
        self._cached = families.tokens.of(model, "cached")
        self._output = families.tokens.of(model, "output")

    def observe(self, metered: Metered) -> None:
        end = metered.end
        kind = end.status, metered.stream
        requests = self._requests.get(kind)
        if requests is None:
            requests = self._families.requests.of(self._model, str(end.status), str(metered.stream).lower())
            self._requests[kind] = requests  # replicas answer with three digits: at most 2,000 of them
        requests.value += 1
        self._latency_s.observe(end.duration_s)
        if end.upstream_s is not None:
            self._upstream_s.observe(end.upstream_s)
        self._input.value += metered.prompt_tokens
        self._cached.value += metered.cached_tokens
        self._output.value += metered.completion_tokens
        if metered.estimated:
            self._families.estimated.of(self._model).value += 1
        if metered.cost_nusd:
            self._families.cost_usd.of(self._model, self._provider).value += metered.cost_nusd / _NUSD_PER_USD
        if end.attempts > 1:
            self._families.failovers.of().value += end.attempts - 1


class PolicyPage:
    """What is read when asked: spend by tenant, and the time that each step of the request path took.

    Args:
        spent: nano-dollars in the window that is now, by tenant.
        timings: of each step: seconds in total, and requests.
    """

    title = "Tenants and steps"

    def __init__(
        self, spent: Callable[[], Mapping[str, int]], timings: Callable[[], Mapping[str, tuple[float, int]]]
    ) -> None:
        self._spent = spent
        self._timings = timings

    def families(self) -> Iterator[Family]:
        spent = list(self._spent().items())[:_MOST_TENANTS]
        yield Reading(
            "kvgate_budget_spent_usd",
            "gauge",
            "US dollars spent in the budget window that is now.",
            ("tenant",),
            [((tenant,), nusd / _NUSD_PER_USD) for tenant, nusd in spent],
        )
        steps: list[tuple[tuple[str, ...], float]] = []
        for step, (seconds, requests) in self._timings().items():
            steps += [(("_count", step), requests), (("_sum", step), seconds)]
        yield Reading("kvgate_step_seconds", "summary", "Time in each step of the request path.", ("step",), steps)

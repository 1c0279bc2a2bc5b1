"""What clients ask for and get, and what tenants are held to. The first ten panels are those that users know."""

from __future__ import annotations

from tools.grafana.query import I, Panel, Row, quantile, quantiles, rate, share

KNOWN = Row(
    "Traffic",
    (
        Panel(
            "Request rate",
            "Requests that were sent to a replica and have ended, by status.",
            "reqps",
            ((rate("kvgate_requests_total", "status"), "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Request latency",
            "Until the client had the last byte.",
            "s",
            quantiles("kvgate_request_latency_seconds"),
        ),
        Panel(
            "Cache hit rate",
            "Of all requests: those answered by the response cache, exact or semantic. Of prompt tokens: those that "
            "engines had in their prefix caches.",
            "percentunit",
            (
                (
                    share(
                        rate("kvgate_cache_events_total", "", 'outcome=~"exact_hit|semantic_hit"', I),
                        rate("kvgate_cache_events_total", "", "", I),
                    ),
                    "response cache",
                ),
                (
                    share(
                        rate("kvgate_tokens_total", "", 'direction="cached"'),
                        rate("kvgate_tokens_total", "", 'direction="input"'),
                    ),
                    "prefix caches",
                ),
            ),
            most=1,
        ),
        Panel(
            "Cache events",
            "Look-ups in the response cache, by outcome.",
            "ops",
            ((rate("kvgate_cache_events_total", "outcome", "", I), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Token throughput",
            "Tokens a second, by direction; cached ones are part of the input.",
            "short",
            ((rate("kvgate_tokens_total", "direction"), "{{direction}}"),),
        ),
        Panel(
            "Routing decisions",
            "Requests sent on, by provider and the engine's name for the model.",
            "reqps",
            ((rate("kvgate_routing_decisions_total", "provider, upstream_model"), "{{provider}} {{upstream_model}}"),),
            stacked=True,
        ),
        Panel(
            "Upstream latency p99",
            "Until the replica had sent its last byte, by provider.",
            "s",
            ((quantile(0.99, "kvgate_upstream_latency_seconds", "provider"), "{{provider}}"),),
        ),
        Panel(
            "Cost",
            "US dollars a second at configured prices, by model.",
            "currencyUSD",
            ((rate("kvgate_estimated_cost_usd_total", "model"), "{{model}}"),),
        ),
        Panel(
            "In flight",
            "Requests routed that have not ended.",
            "short",
            ((f"sum by (instance) (kvgate_inflight_requests{{{I}}})", "{{instance}}"),),
        ),
        Panel(
            "Failovers and rate-limited",
            "Tries on another replica; requests answered 429 and 402.",
            "ops",
            (
                (rate("kvgate_routing_failovers_total", "", "", I), "failovers"),
                (rate("kvgate_rate_limited_total", "", "", I), "rate limited"),
                (rate("kvgate_budget_rejected_total", "", "", I), "over budget"),
            ),
        ),
        Panel(
            "Time to first token",
            "From the decision to the first chunk, of a sample of streams.",
            "s",
            quantiles("kvgate_time_to_first_token_seconds"),
        ),
        Panel(
            "Errors",
            "Of requests sent on: those that ended with a 5xx or no answer. Those that the gateway refused, by code.",
            "reqps",
            (
                (rate("kvgate_requests_total", "status", 'status!~"2.."'), "status {{status}}"),
                (rate("kvgate_refused_total", "code", "", I), "{{code}}"),
            ),
        ),
    ),
)


TENANTS = Row(
    "Tenants",
    (
        Panel(
            "Spent",
            "US dollars in the budget window that is now.",
            "currencyUSD",
            ((f"topk(20, max by (tenant) (kvgate_budget_spent_usd{{{I}}}))", "{{tenant}}"),),
        ),
        Panel(
            "Over budget",
            "Requests a second answered 402.",
            "reqps",
            ((f"topk(20, {rate('kvgate_budget_rejected_total', 'tenant', '', I)})", "{{tenant}}"),),
        ),
        Panel(
            "Rate limited",
            "Requests a second answered 429.",
            "reqps",
            ((f"topk(20, {rate('kvgate_rate_limited_total', 'tenant', '', I)})", "{{tenant}}"),),
        ),
    ),
)

"""How good decisions are, what caches spare, and how replicas fare."""

from __future__ import annotations

from tools.grafana.query import I, Panel, R, Row, quantile, rate, share

ROUTING = Row(
    "Routing quality",
    (
        Panel(
            "Warm and cold",
            "Requests served, by whether a prefix was expected to be cached where they were sent.",
            "reqps",
            ((rate("kvgate_routing_affinity_total", "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Incorrect routing",
            "Of the requests that can be judged: those that found less cached than another replica was believed to "
            "hold. Busy warm replicas show here too: it need not be 0.",
            "percentunit",
            (
                (
                    share(
                        rate("kvgate_routing_misrouted_total", "model"), rate("kvgate_routing_judged_total", "model")
                    ),
                    "{{model}}",
                ),
            ),
            most=1,
        ),
        Panel(
            "Cached tokens, expected and found",
            "Prompt tokens a second of requests whose engine said how many it had cached.",
            "short",
            (
                (rate("kvgate_routing_predicted_cached_tokens_total"), "expected"),
                (rate("kvgate_routing_actual_cached_tokens_total"), "found"),
                (rate("kvgate_routing_trimmed_tokens_total"), "believed until told otherwise"),
            ),
        ),
        Panel(
            "Predicted / observed time to first token",
            "1 is right, 2 is twice as long as it took.",
            "short",
            tuple(
                (quantile(each / 100, "kvgate_routing_ttft_predicted_over_observed"), f"p{each}")
                for each in (10, 50, 90)
            ),
        ),
        Panel(
            "Error of the cached-token prediction",
            "Difference between tokens expected and found in the cache, as a share of the prompt.",
            "percentunit",
            tuple(
                (quantile(each / 100, "kvgate_routing_cached_tokens_error_ratio"), f"p{each}") for each in (50, 90, 99)
            ),
            most=1,
        ),
        Panel(
            "Error of the prompt-token estimate",
            "|estimated - counted| / counted.",
            "percentunit",
            tuple((quantile(each / 100, "kvgate_prompt_tokens_error_ratio"), f"p{each}") for each in (50, 90, 99)),
        ),
    ),
)


CACHE = Row(
    "Caches",
    (
        Panel(
            "Tokens not computed",
            "Tokens a second that no engine computed, by the cache that spared it.",
            "short",
            ((rate("kvgate_cache_saved_tokens_total", "cache"), "{{cache}}"),),
            stacked=True,
        ),
        Panel(
            "Prefill saved",
            "Seconds of prefill saved a second, at the speed that replicas were seen to have: 2 is as much as two "
            "replicas could compute.",
            "short",
            ((rate("kvgate_cache_saved_seconds_total", "cache"), "{{cache}}"),),
            stacked=True,
        ),
        Panel(
            "Cache index",
            "Tokens that replicas' KV caches are believed to hold, and room for.",
            "short",
            (
                (f"sum by (replica) (kvgate_replica_index_tokens{{{I}}})", "{{replica}}"),
                (f"sum by (replica) (kvgate_replica_capacity_tokens{{{I}}})", "{{replica}} capacity"),
            ),
        ),
    ),
)


REPLICAS = Row(
    "Replicas",
    (
        Panel(
            "Requests there",
            "Routed and not ended, by replica.",
            "short",
            ((f"sum by (replica) (kvgate_replica_inflight_requests{{{I}}})", "{{replica}}"),),
        ),
        Panel(
            "Wait",
            "Predicted seconds until a prompt sent there now would be computed.",
            "s",
            ((f"max by (replica) (kvgate_replica_wait_seconds{{{I}}})", "{{replica}}"),),
        ),
        Panel(
            "Queued tokens",
            "Prompt tokens still to be computed there.",
            "short",
            ((f"sum by (replica) (kvgate_replica_queued_tokens{{{I}}})", "{{replica}}"),),
        ),
        Panel(
            "Share of prompt tokens that were cached",
            "By the engines' count.",
            "percentunit",
            (
                (
                    f"{rate('kvgate_replica_cached_tokens_total', 'replica', '', I)} / "
                    f"(({rate('kvgate_replica_cached_tokens_total', 'replica', '', I)} + "
                    f"{rate('kvgate_replica_uncached_tokens_total', 'replica', '', I)}) > 0)",
                    "{{replica}}",
                ),
            ),
            most=1,
        ),
        Panel(
            "Computed tokens",
            "Prompt tokens a second that each replica had to compute.",
            "short",
            ((rate("kvgate_replica_uncached_tokens_total", "replica", "", I), "{{replica}}"),),
            stacked=True,
        ),
        Panel(
            "Learned prefill speed",
            "Tokens a second, from times to first token.",
            "short",
            ((f"avg by (replica) (kvgate_replica_prefill_tokens_per_second{{{I}}})", "{{replica}}"),),
        ),
        Panel(
            "Eligible",
            "1, or 0 while a replica is draining, unproven or set aside.",
            "short",
            ((f"min by (replica) (kvgate_replica_eligible{{{I}}})", "{{replica}}"),),
            most=1,
        ),
        Panel(
            "Engine: requests running and waiting",
            "As the engines themselves say.",
            "short",
            (
                ("sum by (instance) (vllm:num_requests_running)", "{{instance}} running"),
                ("sum by (instance) (vllm:num_requests_waiting)", "{{instance}} waiting"),
            ),
        ),
        Panel(
            "Engine: prefix cache hit rate",
            "Of tokens asked for, as the engines themselves count.",
            "percentunit",
            (
                (
                    f"sum by (instance) (rate(vllm:prefix_cache_hits_total{R})) / "
                    f"(sum by (instance) (rate(vllm:prefix_cache_queries_total{R})) > 0)",
                    "{{instance}}",
                ),
            ),
            most=1,
        ),
    ),
)

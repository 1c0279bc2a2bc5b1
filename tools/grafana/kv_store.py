"""The listener in front of the remote KV store."""

from __future__ import annotations

from tools.grafana.query import Panel, R, Row

_CLUSTER = 'envoy_cluster_name="kvgate-kv-store"'
_COMMANDS = ("get", "set", "exists")
_LATENCY = "envoy_cluster_redis_cluster_upstream_commands_{}_latency_bucket"

KV_STORE = Row(
    "KV store",
    (
        Panel(
            "Servers",
            "Those that get keys, of all that are configured.",
            "short",
            (
                (f"min(envoy_cluster_membership_healthy{{{_CLUSTER}}})", "healthy"),
                (f"max(envoy_cluster_membership_total{{{_CLUSTER}}})", "configured"),
            ),
        ),
        Panel(
            "Commands by server",
            "How the keys are spread; with one server, connections.",
            "ops",
            (
                (
                    f"sum by (envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_total{{{_CLUSTER}}}{R}))",
                    "{{envoy_endpoint_address}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Bytes",
            "Of KV that clients wrote and were given.",
            "Bps",
            tuple(
                (
                    f"sum(rate(envoy_redis_downstream_cx_{each}_bytes_total{R}))"
                    f" or sum(rate(envoy_tcp_downstream_cx_{each}_bytes_total{R}))",
                    legend,
                )
                for each, legend in (("rx", "written"), ("tx", "read"))
            ),
        ),
        Panel(
            "Commands",
            "Of clients, where commands are read: several servers, or a password.",
            "ops",
            tuple((f"sum(rate(envoy_redis_command_{each}_total{R}))", each) for each in _COMMANDS),
            stacked=True,
        ),
        Panel(
            "Latency of servers, p99",
            "From a command to the whole of its answer, its wait behind others included.",
            "µs",
            tuple(
                (f"histogram_quantile(0.99, sum by (le) (rate({_LATENCY.format(each)}{{{_CLUSTER}}}{R})))", each)
                for each in _COMMANDS
            ),
        ),
        Panel(
            "Trouble",
            "Errors to clients; servers set aside after failures; connections beyond the limit.",
            "ops",
            (
                *((f"sum(rate(envoy_redis_command_{each}_error{R}))", f"{each}: errors") for each in _COMMANDS),
                (f"sum(rate(envoy_cluster_outlier_detection_ejections_enforced_total{{{_CLUSTER}}}{R}))", "set aside"),
                (f"sum(rate(envoy_connection_limit_limited_connections{R}))", "connections closed"),
            ),
        ),
    ),
)

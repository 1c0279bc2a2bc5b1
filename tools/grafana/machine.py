"""The processor and its Envoy."""

from __future__ import annotations

from tools.grafana.query import I, Panel, R, Row, quantile, rate

_REPLICAS = 'envoy_cluster_name!="kvgate-kv-store"'

PROCESSOR = Row(
    "Processor",
    (
        Panel(
            "Latency by phase, p99",
            "Time to answer Envoy: request headers, request body, response.",
            "s",
            ((quantile(0.99, "kvgate_processor_seconds", "phase", "", I), "{{phase}}"),),
        ),
        Panel(
            "Steps of the request path",
            "Mean time in each; waiting for an equal request or for Redis included.",
            "s",
            (
                (
                    f"{rate('kvgate_step_seconds_sum', 'step', '', I)} / "
                    f"({rate('kvgate_step_seconds_count', 'step', '', I)} > 0)",
                    "{{step}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "CPU and memory",
            "Of the processor; one process uses at most one CPU.",
            "short",
            (
                (f"sum by (instance) (rate(process_cpu_seconds_total{{{I}}}{R}))", "{{instance}} CPUs"),
                (f"sum by (instance) (process_resident_memory_bytes{{{I}}}) / 1e9", "{{instance}} GB"),
            ),
        ),
        Panel(
            "Events dropped, faults",
            "Reports that came to nothing or could not be believed.",
            "ops",
            (
                (rate("kvgate_events_dropped_total", "source", "", I), "dropped: {{source}}"),
                (rate("kvgate_faults_total", "kind", "", I), "{{kind}}"),
            ),
        ),
        Panel(
            "What it leans on",
            "Envoys that follow it; Redis reachable; 1 while the configuration file is refused.",
            "short",
            (
                (f"sum by (instance) (kvgate_envoys{{{I}}})", "{{instance}} Envoys"),
                (f"min by (redis) (kvgate_redis_up{{{I}}})", "Redis {{redis}}"),
                (f"max by (instance) (kvgate_config_last_reload_failed{{{I}}})", "{{instance}} configuration refused"),
            ),
        ),
        Panel(
            "Cache index size",
            "Distinct fingerprint blocks of the whole fleet.",
            "short",
            ((f"sum by (instance) (kvgate_index_blocks{{{I}}})", "{{instance}}"),),
        ),
    ),
)


ENVOY = Row(
    "Envoy",
    (
        Panel(
            "Requests by class",
            "As Envoy answered them, all paths and its own errors included.",
            "reqps",
            (
                (
                    "sum by (envoy_response_code_class) "
                    f'(rate(envoy_http_downstream_rq_xx{{envoy_http_conn_manager_prefix="kvgate"}}{R}))',
                    "{{envoy_response_code_class}}xx",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Connections and active requests",
            "Of clients.",
            "short",
            tuple(
                (f'sum(envoy_http_downstream_{name}_active{{envoy_http_conn_manager_prefix="kvgate"}})', legend)
                for name, legend in (("cx", "connections"), ("rq", "requests"))
            ),
        ),
        Panel(
            "Latency as Envoy sees it",
            "Until the last byte left, of all requests.",
            "ms",
            tuple(
                (
                    f"histogram_quantile({each / 100}, sum by (le) "
                    f'(rate(envoy_http_downstream_rq_time_bucket{{envoy_http_conn_manager_prefix="kvgate"}}{R})))',
                    f"p{each}",
                )
                for each in (50, 99)
            ),
        ),
        Panel(
            "Tries by replica",
            "Requests that Envoy sent to each endpoint.",
            "reqps",
            (
                (
                    f"sum by (envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_total{{{_REPLICAS}}}{R}))",
                    "{{envoy_endpoint_address}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Retries and errors",
            "Retries by cluster; errors by endpoint.",
            "ops",
            (
                (
                    f"sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_retry{R}))",
                    "{{envoy_cluster_name}} retries",
                ),
                (
                    f"sum by (envoy_endpoint_address) (rate(envoy_cluster_endpoint_rq_error{{{_REPLICAS}}}{R}))",
                    "{{envoy_endpoint_address}} errors",
                ),
            ),
        ),
        Panel(
            "Past the processor",
            "Requests that went on without it; messages it was late with; log entries that were dropped.",
            "ops",
            (
                (f"sum(rate(envoy_http_ext_proc_failure_mode_allowed{R}))", "without it"),
                (f"sum(rate(envoy_http_ext_proc_message_timeouts{R}))", "too late"),
                (f"sum(rate(envoy_access_logs_grpc_access_log_logs_dropped{R}))", "log entries dropped"),
            ),
        ),
    ),
)

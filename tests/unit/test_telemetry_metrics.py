"""Metrics as Prometheus would read them."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from extproc.fleet.events import CapacityReported, ReplicaDown, Usage
from extproc.fleet.outcome import Outcome
from extproc.telemetry.health_page import HealthPage, dropped_events
from extproc.telemetry.metrics import Metrics
from tests.unit.say import chain, fleet_of, routed, served

OUTCOME = Outcome(
    at_s=1.0,
    model="m",
    replica="a",
    first_choice=True,
    prompt_tokens=1000,
    predicted_tokens=640,
    cached_tokens=600,
    elsewhere_tokens=0,
    predicted_ttft_s=0.2,
    ttft_s=0.1,
    trimmed_tokens=40,
    usage=Usage(prompt_tokens=1250, completion_tokens=10, cached_tokens=750),
)


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, label value, ...) -> value, label values in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def after(*outcomes: Outcome) -> dict[tuple[str, ...], float]:
    metrics = Metrics(lambda: 64)
    for outcome in outcomes:
        metrics.observe(outcome)
    return scraped(metrics)


def test_predicted_and_actual_cached_tokens_can_be_compared() -> None:
    page = after(OUTCOME, replace(OUTCOME, cached_tokens=None))
    assert page["kvgate_routing_predicted_cached_tokens_total", "m"] == 640
    assert page["kvgate_routing_actual_cached_tokens_total", "m"] == 600
    assert page["kvgate_routing_cached_tokens_error_ratio_sum", "m"] == 0.04


def test_an_answer_of_another_replica_says_nothing_of_what_was_predicted_for_the_first() -> None:
    page = after(replace(OUTCOME, first_choice=False))
    assert page["kvgate_routing_predicted_cached_tokens_total", "m"] == 0
    assert page["kvgate_routing_ttft_predicted_over_observed_count", "m"] == 0
    assert page["kvgate_time_to_first_token_seconds_count", "m"] == 1


def test_ttft_is_compared_as_a_ratio_that_errs_alike_in_both_directions() -> None:
    page = after(OUTCOME, replace(OUTCOME, predicted_ttft_s=0.05))
    name = "kvgate_routing_ttft_predicted_over_observed"
    assert page[f"{name}_sum", "m"] == 2.5
    assert page[f"{name}_bucket", "0.5", "m"] == 1
    assert page[f"{name}_bucket", "1.4142", "m"] == 1
    assert page[f"{name}_bucket", "2.0", "m"] == 2
    assert page["kvgate_time_to_first_token_seconds_sum", "m"] == 0.2


def test_the_incorrect_routing_rate_counts_only_what_can_be_judged() -> None:
    elsewhere = replace(OUTCOME, cached_tokens=0, elsewhere_tokens=900)
    page = after(OUTCOME, elsewhere, replace(elsewhere, cached_tokens=None))
    assert page["kvgate_routing_judged_total", "m"] == 2
    assert page["kvgate_routing_misrouted_total", "m"] == 1


def test_warm_and_cold_decisions_are_counted_under_the_names_that_users_know() -> None:
    page = after(OUTCOME, replace(OUTCOME, predicted_tokens=0))
    assert page["kvgate_routing_affinity_total", "m", "warm"] == 1
    assert page["kvgate_routing_affinity_total", "m", "cold"] == 1
    assert page["kvgate_routing_affinity_matched_blocks_sum", "m"] == 10
    assert page["kvgate_routing_trimmed_tokens_total", "m"] == 80


def test_decisions_are_counted_by_who_will_serve_them() -> None:
    metrics = Metrics(lambda: 64)
    for provider in ("gpu", "gpu", "cloud"):
        metrics.decided("m", provider, "org/m")
    page = scraped(metrics)
    assert page["kvgate_routing_decisions_total", "m", "gpu", "org/m"] == 2
    assert page["kvgate_routing_decisions_total", "m", "cloud", "org/m"] == 1


def test_token_estimates_are_held_against_the_engines_count() -> None:
    page = after(OUTCOME)
    assert page["kvgate_prompt_tokens_estimated_total", "m"] == 1000
    assert page["kvgate_prompt_tokens_counted_total", "m"] == 1250
    assert page["kvgate_prompt_tokens_error_ratio_sum", "m"] == 0.2


def test_counts_that_cannot_be_believed_are_not_added_up() -> None:
    lies = (0, -5, 10**18, None)
    page = after(*(replace(OUTCOME, usage=Usage(prompt_tokens=lie)) for lie in lies), replace(OUTCOME, ttft_s=0.0))
    assert page["kvgate_prompt_tokens_counted_total", "m"] == 1250


def test_the_fleet_is_read_at_the_scrape() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a", "b")
    metrics.watch_fleet(fleet, lambda: 0.0)
    fleet.apply(CapacityReported(0.0, "a", 5000))
    fleet.apply(routed("t", "a", chain(1, 2, 3)))
    busy = scraped(metrics)
    fleet.apply(served("t", "a"))
    idle = scraped(metrics)
    assert busy["kvgate_inflight_requests",] == busy["kvgate_replica_inflight_requests", "a"] == 1
    assert busy["kvgate_replica_queued_tokens", "a"] == 30
    assert busy["kvgate_replica_capacity_tokens", "a"] == 5000
    assert ("kvgate_replica_capacity_tokens", "b") not in busy
    assert busy["kvgate_replica_prefill_tokens_per_second", "b"] > 0
    assert busy["kvgate_replica_eligible", "b"] == 1
    assert idle["kvgate_inflight_requests",] == 0
    assert idle["kvgate_replica_index_tokens", "a"] == 30
    assert idle["kvgate_index_blocks",] == idle["kvgate_replica_index_blocks", "a"] == 3


def test_a_replica_that_is_gone_leaves_no_series() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a", "b")
    metrics.watch_fleet(fleet, lambda: 0.0)
    fleet.apply(ReplicaDown(0.0, "a"))
    assert not [series for series in scraped(metrics) if "a" in series]


def test_faults_are_counted_by_kind() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a")
    metrics.watch_fleet(fleet, lambda: 0.0)
    fleet.apply(served("nobody's", "a"))
    assert scraped(metrics)["kvgate_faults_total", "unmatched report"] == 1


def test_a_request_that_the_gateway_answered_by_itself_is_no_report_that_was_lost() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a")
    metrics.watch_fleet(fleet, lambda: 0.0)
    fleet.apply(served("refused", None, status=429))
    assert scraped(metrics)["kvgate_faults_total", "unmatched report"] == 0


def test_what_the_gateway_leans_on_is_told() -> None:
    metrics = Metrics(lambda: 64)
    dropped = dropped_events({"unmatched report": 2, "metrics: timeout": 3, "metrics: status": 1, "other": 9}, 4)
    metrics.watch(HealthPage(lambda: (12.5, True), lambda: 1, lambda: {"redis:6379/0": False}, lambda: dropped))
    page = scraped(metrics)
    assert page["kvgate_redis_up", "redis:6379/0"] == 0
    assert (page["kvgate_config_last_reload_failed",], page["kvgate_config_loaded_timestamp_seconds",]) == (1, 12.5)
    assert page["kvgate_events_dropped_total", "access_log"] == 2
    assert page["kvgate_events_dropped_total", "engine_metrics"] == 4
    assert page["kvgate_events_dropped_total", "answer_store"] == 4


def test_the_processors_latency_is_told_by_phase() -> None:
    metrics = Metrics(lambda: 64)
    for message in ("request_headers", "request_body", "request_body", "response_headers", "response_body", ""):
        metrics.took(message, 0.0003)
    page = scraped(metrics)
    counts = {phase: page["kvgate_processor_seconds_count", phase] for phase in ("headers", "body", "response")}
    assert counts == {"headers": 1, "body": 2, "response": 3}
    assert page["kvgate_processor_seconds_bucket", "0.0005", "body"] == 2


def test_every_metric_says_what_it_is_and_nothing_has_a_time_of_birth() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a")
    metrics.watch_fleet(fleet, lambda: 0.0)
    metrics.observe(OUTCOME)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    for family in families:
        assert family.name.startswith(("kvgate_", "gen_ai_", "process_"))
        assert family.documentation[0].isupper()
        assert not family.name.endswith("_created")


def test_two_processors_in_one_process_do_not_share_metrics() -> None:
    first, second = Metrics(lambda: 64), Metrics(lambda: 64)
    first.observe(OUTCOME)
    assert scraped(second).keys() == scraped(Metrics(lambda: 64)).keys() != scraped(first).keys()

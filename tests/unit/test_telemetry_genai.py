"""OpenTelemetry's names for what the gateway counts."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from extproc.metering.metering import Metered
from extproc.telemetry.metrics import Metrics
from tests.unit.test_telemetry_cardinality import END, METERED

PLAIN = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "p", "gen_ai_request_model": "m"}


def told(name: str, *requests: Metered) -> list[tuple[dict[str, str], float]]:
    metrics = Metrics(lambda: 64)
    for each in requests:
        metrics.metered(each)
    metrics.first_token("/v1/completions", "p", "m", 0.3)
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = (sample for family in families for sample in family.samples)
    return [(sample.labels, sample.value) for sample in samples if sample.name == name and sample.value]


def test_tokens_are_told_by_type() -> None:
    assert told("gen_ai_client_token_usage_sum", METERED) == [
        ({**PLAIN, "gen_ai_token_type": "input"}, 10),
        ({**PLAIN, "gen_ai_token_type": "output"}, 2),
    ]


def test_tokens_that_were_only_estimated_are_not_reported() -> None:
    assert not told("gen_ai_client_token_usage_sum", replace(METERED, estimated=True))


def test_a_failure_has_an_error_type_and_a_success_none() -> None:
    failed, left = (replace(METERED, end=replace(END, status=status)) for status in (503, 0))
    assert told("gen_ai_server_request_duration_seconds_count", METERED, failed, left) == [
        (PLAIN, 1),
        ({**PLAIN, "error_type": "503"}, 1),
        ({**PLAIN, "error_type": "client_disconnected"}, 1),
    ]


def test_the_operation_is_that_of_the_endpoint() -> None:
    text = {**PLAIN, "gen_ai_operation_name": "text_completion"}
    assert told("gen_ai_server_time_to_first_token_seconds_sum") == [(text, 0.3)]
    embeddings = replace(METERED, endpoint="/v1/embeddings")
    name = "gen_ai_operation_name"
    assert [each[name] for each, _ in told("gen_ai_client_token_usage_count", embeddings)] == ["embeddings"] * 2

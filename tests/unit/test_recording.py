"""What is recorded of single requests, by configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extproc.config.errors import ConfigError
from extproc.config.load import loads
from extproc.config.observability import Telemetry
from extproc.config.settings import Settings
from extproc.control.bootstrap import render_bootstrap
from extproc.gateway.pipeline import Pipeline
from extproc.gateway.processor import ExternalProcessor
from extproc.gateway.steps import Understand
from extproc.gateway.traced import Parent, Timed, TracedExchange, TracedProcessor, sampled_parent
from extproc.recording import Recording
from tests.unit.test_gateway_exchange import CHAT, Bench

BASE = "models: [{name: m, deployments: [{provider: p}]}]\nproviders: [{name: p, base_url: http://127.0.0.1:1}]\n"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


def telemetry(text: str) -> Telemetry:
    return loads(f"{BASE}telemetry: {text}\n", {}).settings.telemetry


def bootstrap(**section: Any) -> str:
    settings = Settings.model_validate({"telemetry": section})
    return render_bootstrap(settings, processor_target="unix:/p.sock", run_dir=Path("/"))


def test_nothing_is_recorded_unless_asked_for() -> None:
    assert not telemetry("{}").traced
    assert not telemetry("{}").logged
    assert not telemetry("{request_log: off}").logged  # a boolean to YAML
    recording = Recording(Telemetry())
    assert recording.request_log is None
    assert recording.dropped() == {}


def test_without_tracing_what_makes_and_sends_spans_is_not_imported() -> None:
    program = (  # the Redis client imports some of OpenTelemetry itself, where it is installed
        "import sys, extproc.server; from extproc.config.observability import Telemetry;"
        "from extproc.recording import Recording; Recording(Telemetry());"
        "sys.exit(any(name in sys.modules for name in ('extproc.telemetry.tracing', 'opentelemetry.exporter')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0


def test_envoy_is_told_of_traces_and_trace_ids_only_where_they_are_wanted() -> None:
    plain = bootstrap()
    for word in ("tracing", "kvgate_collector", "traceparent", "trace_id"):
        assert word not in plain.replace("use_request_id_for_trace_sampling", "")
    traced = bootstrap(otlp_endpoint="http://collector:4317", sample_ratio=0.25, service_name="gate")
    for words in ("numerator: 250000", "service_name: gate", "address: collector", "port_value: 4317"):
        assert words in traced
    assert "traceparent" not in traced
    assert "traceparent" in bootstrap(request_log="stdout")


def test_spans_over_http_go_to_v1_traces() -> None:
    text = bootstrap(otlp_endpoint="https://10.0.0.9:4318/otel/", otlp_protocol="http")
    assert "uri: https://10.0.0.9:4318/otel/v1/traces" in text
    assert "UpstreamTlsContext" in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{request_log: stdot}", "off, stdout, or a file's path"),
        ("{request_log: on}", "off, stdout, or a file's path"),
        ("{otlp_endpoint: 'http://c:4317/v1/traces'}", "a path means nothing to gRPC"),
        ("{otlp_endpoint: 'http://user:pass@c:4317'}", "give scheme, host and port"),
        ("{otlp_endpoint: collector}", "telemetry.otlp_endpoint"),
        ("{sample_ratio: 2}", "telemetry.sample_ratio"),
        ("{sampling: 1}", "sampl"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as told:
        telemetry(text)
    assert ":3" in str(told.value)


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"{TRACE}-01", True),
        (f"{TRACE}-03", True),
        (f"{TRACE}-00", False),
        (f"{TRACE}-0", False),
        (f"{TRACE}-zz", False),
        (f"{TRACE}-²1", False),
        ("", False),
    ],
)
def test_only_what_is_sampled_is_traced(value: str, sampled: bool) -> None:
    assert (sampled_parent([("tracestate", "a=b"), ("traceparent", value)]) is not None) is sampled


def test_without_a_collector_the_plain_processor_serves(tmp_path: Path) -> None:
    bench = Bench()
    plain = Recording(Telemetry()).processor(bench.gateway, lambda _, __: None)
    assert type(plain) is ExternalProcessor
    traced = Recording(Telemetry.model_validate({"otlp_endpoint": "http://127.0.0.1:9"}))
    assert type(traced.processor(bench.gateway, lambda _, __: None)) is TracedProcessor


async def test_a_story_goes_along_only_where_there_is_a_request_log() -> None:
    bench = Bench()
    assert "story" not in (await bench.post(CHAT)).dynamic_metadata["kvgate"]
    bench.gateway.tells = True
    told = (await bench.post(CHAT)).dynamic_metadata["kvgate"]["story"]
    refused = (await bench.post({**CHAT, "model": "tell me a story"})).dynamic_metadata["kvgate"]["story"]
    assert "model_not_found" in refused
    for story in (told, refused):
        assert "tell me" not in story


def test_without_the_extra_there_are_no_spans_of_the_processor_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "extproc.telemetry.tracing", None)
    recording = Recording(Telemetry.model_validate({"otlp_endpoint": "http://127.0.0.1:9"}))
    assert type(recording.processor(Bench().gateway, lambda _, __: None)) is ExternalProcessor
    assert "kvgate[otel]" in caplog.text


async def test_a_traced_exchange_is_recorded_once_with_its_steps_however_it_ends() -> None:
    bench = Bench()
    recorded: list[tuple[Any, ...]] = []
    pipeline = Pipeline([("understand", Timed("understand", Understand()))])
    bench.gateway.pipeline = pipeline
    for body in (CHAT, {**CHAT, "model": "unheard-of"}):
        exchange = TracedExchange(
            bench.gateway,
            bench.gateway.ticket(),
            None,
            parent=Parent(f"{TRACE}-01", ""),
            record=lambda *told: recorded.append(told),
        )
        await bench.headers(exchange)
        await bench.body(exchange, body)
        exchange.close()
        exchange.close()
    broken, refused = recorded
    assert [name for name, _, _ in broken[3]] == ["understand"]
    assert refused[4]["error.type"] == "model_not_found"
    assert "gen_ai.request.model" not in refused[4]

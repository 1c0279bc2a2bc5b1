"""One trace from the client through Envoy and the processor to the replica, and what it costs when nobody collects."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from extproc.config.settings import Settings
from extproc.control.bootstrap import render_bootstrap
from tests.envoy.collector import Collector, attributes
from tests.envoy.gateway import Gateway, until
from tests.envoy.plumbing import validate

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "a prompt that nobody may read"


class Traced:
    def __init__(self, gateway: Gateway, collector: Collector) -> None:
        self.gateway, self.collector = gateway, collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traced() -> AsyncIterator[Traced]:
    with Collector() as collector:
        telemetry = {"otlp_endpoint": collector.url, "sample_ratio": 0.0, "service_name": "gate"}
        async with Gateway(2, telemetry=telemetry) as gateway:
            yield Traced(gateway, collector)


async def ask(gateway: Gateway, headers: dict[str, str], model: str = "m") -> int:
    body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": PROMPT}]}
    async with gateway.http.post("/v1/chat/completions?key=sk-in-query", json=body, headers=headers) as response:
        await response.read()
        return response.status


async def seen(gateway: Gateway, request_id: str) -> dict[str, str]:
    """The headers with which a replica saw a request."""
    for name in gateway.replicas:
        for request in (await gateway.sim_state(name))["requests"]:
            if request["request_id"] == request_id:
                return dict(request["headers"])
    raise LookupError(request_id)


def context(*, sampled: bool) -> tuple[str, str, dict[str, str]]:
    """A new trace of a client: its id, the id of its span, and its headers."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {
        "traceparent": f"00-{trace_id}-{span_id}-{sampled:02x}",
        "tracestate": "vendor=value",
        "x-request-id": trace_id,
        "authorization": "Bearer sk-in-header",
    }
    return trace_id, span_id, headers


async def push(traced: Traced) -> None:
    """Envoy sends spans when it has five: give it some more."""
    for _ in range(3):
        assert await ask(traced.gateway, context(sampled=True)[2]) == 200


async def test_one_trace_leads_from_the_client_to_the_replica(traced: Traced) -> None:
    trace_id, span_id, headers = context(sampled=True)
    assert await ask(traced.gateway, headers) == 200
    at_replica = await seen(traced.gateway, trace_id)
    await push(traced)
    await until(
        lambda: {"POST", "kvgate.decide"} <= traced.collector.of(trace_id).keys(),
        lambda: f"spans of Envoy and the processor: {sorted(traced.collector.of(trace_id))}",
    )
    spans = traced.collector.of(trace_id)
    server, decide = spans["POST"], spans["kvgate.decide"]
    asked = next(span for name, span in spans.items() if "ExternalProcessor" in name)
    upstream = next(span for name, span in spans.items() if name.startswith("sims "))
    assert server.parent_span_id.hex() == span_id
    assert asked.parent_span_id == upstream.parent_span_id == server.span_id
    assert decide.parent_span_id == asked.span_id
    assert at_replica["traceparent"] == f"00-{trace_id}-{upstream.span_id.hex()}-01"
    assert at_replica["tracestate"] == "vendor=value"
    assert upstream.name in {"sims r0", "sims r1"}


async def test_the_processors_span_explains_the_decision_and_times_its_steps(traced: Traced) -> None:
    trace_id, _, headers = context(sampled=True)
    await ask(traced.gateway, headers)
    await until(lambda: "kvgate.decide" in traced.collector.of(trace_id), lambda: "the processor's span")
    spans = traced.collector.of(trace_id)
    decide = spans["kvgate.decide"]
    said = attributes(decide)
    assert said["gen_ai.request.model"] == "m"
    assert said["kvgate.replica"] in {"r0", "r1"}
    assert said["kvgate.tenant"] == "default"
    assert said["kvgate.cache"] == "bypass"
    assert {"kvgate.reason", "kvgate.prompt_tokens", "kvgate.matched_tokens"} <= said.keys()
    for step in ("understand", "fingerprint", "admit", "exact", "route"):
        span = spans[f"kvgate.{step}"]
        assert span.parent_span_id == decide.span_id
        begin, end = decide.start_time_unix_nano, decide.end_time_unix_nano
        assert begin <= span.start_time_unix_nano <= span.end_time_unix_nano <= end


async def test_a_refusal_is_a_span_with_its_code(traced: Traced) -> None:
    trace_id, _, headers = context(sampled=True)
    assert await ask(traced.gateway, headers, model="unheard-of") == 404
    await until(lambda: "kvgate.decide" in traced.collector.of(trace_id), lambda: "the processor's span")
    said = attributes(traced.collector.of(trace_id)["kvgate.decide"])
    assert said["error.type"] == "model_not_found"
    assert said["http.response.status_code"] == 404


async def test_a_client_that_does_not_sample_is_not_traced(traced: Traced) -> None:
    trace_id, _, headers = context(sampled=False)
    assert await ask(traced.gateway, headers) == 200
    at_replica = await seen(traced.gateway, trace_id)
    assert at_replica["traceparent"].startswith(f"00-{trace_id}-")
    assert at_replica["traceparent"].endswith("-00")
    after, _, headers = context(sampled=True)
    await ask(traced.gateway, headers)
    await push(traced)
    await until(lambda: {"POST", "kvgate.decide"} <= traced.collector.of(after).keys(), lambda: "a later span")
    assert not traced.collector.of(trace_id)


async def test_no_span_holds_a_prompt_a_key_or_a_query(traced: Traced) -> None:
    trace_id, _, headers = context(sampled=True)
    await ask(traced.gateway, headers)
    await push(traced)
    await until(
        lambda: {"POST", "kvgate.decide"} <= traced.collector.of(trace_id).keys(), lambda: "spans of the request"
    )
    for secret in (PROMPT, "sk-in-query", "sk-in-header", "unheard-of"):
        assert secret.encode() not in traced.collector.raw


async def test_a_collector_that_hangs_or_is_gone_costs_no_request(traced: Traced) -> None:
    async def many() -> list[int]:
        return await asyncio.gather(*(ask(traced.gateway, context(sampled=True)[2]) for _ in range(40)))

    traced.collector.answering.clear()
    assert await many() == [200] * 40
    await until(traced.collector.held.is_set, lambda: "the collector to be asked")
    assert await many() == [200] * 40
    traced.collector.die()
    assert await many() == [200] * 40
    trace_id, _, headers = context(sampled=True)
    assert await ask(traced.gateway, headers) == 200
    assert (await seen(traced.gateway, trace_id))["traceparent"].startswith(f"00-{trace_id}-")


@pytest.mark.parametrize(
    "telemetry",
    [
        {"otlp_endpoint": "http://collector:4317", "request_log": "stdout"},
        {"otlp_endpoint": "https://10.0.0.9:4318", "otlp_protocol": "http", "sample_ratio": 0.01},
    ],
)
async def test_envoy_itself_takes_what_is_rendered_for_it(telemetry: dict[str, object], tmp_path: Path) -> None:
    settings = Settings.model_validate({"telemetry": telemetry})
    validate(render_bootstrap(settings, processor_target=f"unix:{tmp_path}/p.sock", run_dir=tmp_path), tmp_path)

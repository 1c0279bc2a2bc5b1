"""The line that each request leaves behind: what it explains, and what is never in it."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from extproc.tenants.keys import digest, public_id
from tests.envoy.gateway import Gateway, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"
KEYS = {name: f"sk-MARKER-{name}-{secrets.token_hex(4)}" for name in ("acme", "hasty", "broke")}
PRICES = {"cost_per_1k_input": 1.0, "cost_per_1k_cached_input": 0.1, "cost_per_1k_output": 2.0}


class Logged:
    """A gateway and its request log."""

    def __init__(self, gateway: Gateway, path: Path) -> None:
        self.gateway, self.path = gateway, path
        self._ids = 0

    async def ask(
        self, prompt: Any, *, tenant: str = "acme", headers: dict[str, str] | None = None, **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """A chat request: the status that the client saw, and the line."""
        body = {"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": prompt}], **fields}
        return await self.send(json.dumps(body), {"authorization": f"Bearer {KEYS[tenant]}", **(headers or {})})

    async def send(
        self, data: str | bytes, headers: dict[str, str], path: str = CHAT, method: str = "POST"
    ) -> tuple[int, dict[str, Any]]:
        self._ids += 1
        request_id = f"request-{self._ids}"
        headers = {"content-type": "application/json", "x-request-id": request_id, **headers}
        async with self.gateway.http.request(method, path, data=data, headers=headers) as response:
            await response.read()
        return response.status, await self.line(request_id)

    async def line(self, request_id: str) -> dict[str, Any]:
        await until(lambda: request_id in self.by_id(), lambda: f"a line of {request_id}: {self.text()[-2000:]}")
        return self.by_id()[request_id]

    def by_id(self) -> dict[str, dict[str, Any]]:
        return {line["request_id"]: line for line in map(json.loads, self.text().splitlines())}

    def text(self) -> str:
        text = self.path.read_text() if self.path.exists() else ""
        return text[: text.rfind("\n") + 1]  # a line that is being written is not one yet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def logged(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Logged]:
    path = tmp_path_factory.mktemp("logs") / "requests.log"
    keys = [
        {"key": KEYS["acme"], "tenant": "acme"},
        {"key": KEYS["hasty"], "tenant": "hasty", "rpm": 1},
        {"key": KEYS["broke"], "tenant": "broke", "budget_usd": 0},
    ]
    async with Gateway(
        2,
        telemetry={"request_log": str(path)},
        auth={"enabled": True, "api_keys": keys},
        ratelimit={"default_rpm": 600_000, "burst": 1},
        budget={"enabled": True},
        models=[{"name": "m", "deployments": [{"provider": "sims", **PRICES}]}],
    ) as gateway:
        yield Logged(gateway, path)


async def test_a_routed_request_is_explained_from_the_choice_to_the_bill(logged: Logged) -> None:
    status, line = await logged.ask("Tell me of rivers. " * 100, temperature=1)
    assert status == line["status"] == 200
    assert line["tenant"] == "acme"
    assert line["key_id"] == public_id(digest(KEYS["acme"]))
    assert (line["endpoint"], line["model"], line["upstream_model"], line["provider"]) == (CHAT, "m", "m", "sims")
    assert line["replica"] == line["served_by"]
    assert line["served_by"] in logged.gateway.replicas
    assert (line["attempts"], line["reason"], line["cache"], line["stream"]) == (1, "spread", "bypass", False)
    assert line["completion_tokens"] == 3
    assert line["cost_usd"] == pytest.approx((line["prompt_tokens"] * 1.0 + 3 * 2.0) / 1000)
    assert line["prompt_tokens_estimated"] == pytest.approx(line["prompt_tokens"], rel=0.5)
    assert 0 < line["gateway_s"] < line["upstream_s"] < line["duration_s"]
    assert line["predicted_ttft_s"] > 0
    assert line["code"] is None
    _, again = await logged.ask("Tell me of rivers. " * 100, temperature=1)
    assert again["reason"] == "warm"
    assert again["matched_tokens"] > 0
    assert again["cached_tokens"] > 0


async def test_a_timed_stream_has_its_first_token_in_the_line(logged: Logged) -> None:
    _, line = await logged.ask("Hello", stream=True)
    assert line["stream"] is True
    assert 0 < line["ttft_s"] < line["duration_s"]


async def test_an_answer_from_the_cache_costs_nothing_and_names_no_replica(logged: Logged) -> None:
    await logged.ask("What is the capital of France?", temperature=0)
    status, line = await logged.ask("What is the capital of France?", temperature=0)
    assert status == 200
    assert (line["cache"], line["tenant"], line["model"]) == ("exact", "acme", "m")
    assert (line["replica"], line["served_by"], line["attempts"], line["cost_usd"]) == (None, None, 0, 0)


@pytest.mark.parametrize(
    ("tenant", "status", "code"), [("hasty", 429, "rate_limit_exceeded"), ("broke", 402, "budget_exhausted")]
)
async def test_a_refusal_names_the_tenant_and_the_code(logged: Logged, tenant: str, status: int, code: str) -> None:
    await logged.ask("Hello", tenant=tenant, temperature=1)
    seen, line = await logged.ask("Hello", tenant=tenant, temperature=1)
    assert seen == line["status"] == status
    assert (line["code"], line["tenant"], line["model"], line["replica"]) == (code, tenant, "m", None)
    assert line["key_id"] == public_id(digest(KEYS[tenant]))


async def test_who_is_not_let_in_is_nobody(logged: Logged) -> None:
    status, line = await logged.send("{}", {"authorization": "Bearer sk-MARKER-wrong"})
    assert status == line["status"] == 401
    assert (line["code"], line["tenant"], line["key_id"]) == ("invalid_api_key", None, None)


async def test_a_request_that_was_tried_again_tells_first_choice_and_server(logged: Logged) -> None:
    gateway, prompt = logged.gateway, "Tell me of mountains. " * 100
    _, first = await logged.ask(prompt, temperature=1)
    await gateway.fault(first["served_by"], mode="error", times=1)
    _, line = await logged.ask(prompt, temperature=1)
    assert line["replica"] == first["served_by"]
    assert line["served_by"] not in (None, line["replica"])
    assert line["attempts"] == 2


async def test_a_request_that_nobody_serves_carries_envoys_reason(logged: Logged) -> None:
    for name in logged.gateway.replicas:
        await logged.gateway.fault(name, mode="error")
    status, line = await logged.ask("Hello", temperature=1)
    for name in logged.gateway.replicas:
        await logged.gateway.fault(name, mode="ok")
    assert status == line["status"] >= 500
    assert line["attempts"] > 1
    assert line["cost_usd"] == 0


async def test_health_checks_leave_no_line(logged: Logged) -> None:
    for path in ("/healthz", "/readyz"):
        async with logged.gateway.http.get(path, headers={"x-request-id": "probe"}) as response:
            assert response.status == 200
    await logged.ask("Hello")
    assert "probe" not in logged.by_id()


async def test_without_tracing_the_clients_trace_context_reaches_the_replica_as_it_was(logged: Logged) -> None:
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "vendor=value"}
    _, line = await logged.ask("Hello", headers=headers, temperature=1)
    assert line["trace_id"] == trace_id
    state = await logged.gateway.sim_state(line["served_by"])
    seen = next(each["headers"] for each in state["requests"] if each["request_id"] == line["request_id"])
    assert {name: seen[name] for name in headers} == headers


async def test_no_prompt_key_header_or_image_is_ever_in_the_log(logged: Logged) -> None:
    generator = random.Random(7)
    image = b"\x89PNG\r\n\x1a\n" + b"MARKER" * 50
    sending = []
    for number in range(24):
        data, path, method = _hostile_body(generator, image), CHAT, "POST"
        if number % 6 == 5:
            path, method = f"/v1/MARKER{number}", generator.choice(["GET", "POST", "DELETE"])
        key = generator.choice([*KEYS.values(), "sk-MARKER-unknown"])
        headers = {name: f"MARKER-{name}" for name in generator.sample(HEADERS, 6)}
        headers["authorization"] = f"Bearer {key}"
        sending.append(logged.send(data, headers, f"{path}?key=MARKER", method))
    await asyncio.gather(*sending)
    text = logged.text()
    assert len(text.splitlines()) >= 24
    for secret in ("MARKER", base64.b64encode(b"MARKERMARKER").decode()[:12], base64.b64encode(image).decode()[:12]):
        assert secret not in text


HEADERS = [
    *("user-agent", "cookie", "referer", "x-api-key", "x-session-id", "x-kvgate-tenant", "x-kvgate-cache-control"),
    *("x-kvgate-replica", "x-kvgate-explain", "traceparent", "tracestate", "x-custom", "accept", "x-forwarded-for"),
]


def _hostile_body(generator: random.Random, image: bytes) -> str | bytes:
    """A chat request, or something like one, with a marker wherever there may be text."""
    encoded = base64.b64encode(image).decode()
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "MARKER in a prompt"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/MARKER.png"}},
        {"type": "MARKER", "MARKER": "MARKER"},
    ]
    body: dict[str, Any] = {
        "model": generator.choice(["m", "m", "m", "MARKER-model"]),
        "max_tokens": generator.choice([2, 2, "MARKER"]),
        "temperature": generator.choice([0, 1]),
        "stream": generator.choice([True, False]),
        "user": "MARKER-user",
        "messages": [
            {"role": generator.choice(["system", "MARKER"]), "content": "MARKER of a system prompt"},
            {"role": "user", "content": generator.sample(parts, generator.randint(1, 3))},
        ],
        "tools": [{"type": "function", "function": {"name": "MARKER", "parameters": {"MARKER": 1}}}],
        "MARKER": {"MARKER": ["MARKER"]},
    }
    text = json.dumps(body)
    return generator.choice([text, text, text, text[: len(text) // 2], b"\xff" + text.encode()])


async def test_a_rotated_file_is_opened_anew(logged: Logged) -> None:
    before = logged.path.with_suffix(".1")
    logged.path.rename(before)
    logged.gateway.process.send_signal(1)  # SIGHUP, as logrotate sends it
    _, line = await logged.ask("Hello")
    assert line["request_id"] in logged.by_id()
    assert line["request_id"] not in before.read_text()


async def test_a_client_that_leaves_is_told_of(logged: Logged) -> None:
    body = {"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    headers = {"authorization": f"Bearer {KEYS['acme']}", "x-request-id": "left"}
    async with logged.gateway.http.post(CHAT, json=body, headers=headers) as response:
        await response.content.readany()
        response.close()
    line = await logged.line("left")
    assert "downstream_connection_termination" in line["flags"]
    assert line["usage_estimated"] is True

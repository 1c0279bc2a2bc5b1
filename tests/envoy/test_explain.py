"""Why a request goes where it goes: asked by header, over HTTP, by command; and what Prometheus is told."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.envoy.gateway import Gateway, until

STORY = "Once upon a time there was a gateway that could say why. " * 40
ASK = {"x-kvgate-explain": "1"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_gateway() -> AsyncIterator[Gateway]:
    async with Gateway(routing={"explain": True}) as running:
        yield running


def chat(text: str) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}


async def say(gateway: Gateway, text: str, headers: dict[str, str] | None = None) -> aiohttp.ClientResponse:
    async with gateway.http.post("/v1/chat/completions", json=chat(text), headers=headers) as response:
        await response.read()
        assert response.status == 200
        return response


async def explain(gateway: Gateway, body: bytes, **query: str) -> tuple[int, dict[str, Any]]:
    url = f"{gateway.operations_url}/admin/explain"
    async with gateway.http.post(url, data=io.BytesIO(body), params=query) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def metrics(gateway: Gateway) -> dict[str, float]:
    """The sum of each series by name."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        page = await response.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if not sample.name.startswith("process_"):
                found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


async def until_idle(gateway: Gateway) -> None:
    """Waits until the gateway has heard of the end of every request."""

    async def idle() -> bool:
        return (await metrics(gateway))["kvgate_inflight_requests"] == 0

    await until(idle, lambda: "requests in flight")


async def command(gateway: Gateway, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    config = str(gateway.dir / "kvgate.yaml")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "explain", "-c", config, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_a_request_that_asks_why_is_told(open_gateway: Gateway) -> None:
    first = await say(open_gateway, STORY + "header", ASK)
    again = await say(open_gateway, STORY + "header", ASK)
    receipt = json.loads(again.headers["x-kvgate-receipt"])
    assert receipt["reason"] == "warm"
    assert receipt["replica"] == first.headers["x-kvgate-replica"] == again.headers["x-kvgate-replica"]
    best = receipt["replicas"][0]
    assert str(best["matched_tokens"]) == again.headers["x-kvgate-predicted-cached-tokens"]
    assert {each["name"] for each in receipt["replicas"]} == set(open_gateway.replicas)


async def test_a_request_that_does_not_ask_is_told_nothing(open_gateway: Gateway) -> None:
    forged = {"x-kvgate-receipt": "forged"}
    for headers in ({}, forged, {**forged, "x-kvgate-explain": "0"}):
        assert "x-kvgate-receipt" not in (await say(open_gateway, "hello", headers)).headers


async def test_a_receipt_cannot_be_forged(open_gateway: Gateway) -> None:
    answer = await say(open_gateway, "hello", {**ASK, "x-kvgate-receipt": "forged"})
    (receipt,) = answer.headers.getall("x-kvgate-receipt")
    assert json.loads(receipt)["replica"] in open_gateway.replicas


async def test_the_engine_does_not_see_that_the_client_asked(open_gateway: Gateway) -> None:
    answer = await say(open_gateway, "hello", {**ASK, "x-request-id": "asks-why"})
    state = await open_gateway.sim_state(answer.headers["x-kvgate-replica"])
    seen = next(entry for entry in state["requests"] if entry["request_id"] == "asks-why")
    assert not [name for name in seen["headers"] if name.startswith("x-kvgate")]


async def test_where_explaining_is_not_allowed_the_header_is_ignored(open_gateway: Gateway) -> None:
    async with open_gateway.configured(routing={"explain": False}):
        answer = await say(open_gateway, "hello", {**ASK, "x-kvgate-receipt": "forged"})
    assert "x-kvgate-receipt" not in answer.headers


async def test_http_and_command_name_the_replica_that_then_serves(open_gateway: Gateway) -> None:
    for turn in range(4):
        body = json.dumps(chat(f"{turn} {STORY}")).encode()
        status, told = await explain(open_gateway, body)
        code, output, _ = await command(open_gateway, "--json", "-", stdin=body)
        assert (status, code) == (200, 0)
        served = (await say(open_gateway, f"{turn} {STORY}")).headers["x-kvgate-replica"]
        assert told["replica"] == told["receipt"]["replica"] == json.loads(output)["replica"] == served


async def test_explaining_changes_nothing(open_gateway: Gateway) -> None:
    await until_idle(open_gateway)
    before = await metrics(open_gateway)
    answers = [await explain(open_gateway, json.dumps(chat("unheard of " * 200)).encode()) for _ in range(5)]
    assert len({told["replica"] for _, told in answers}) == 1
    assert await metrics(open_gateway) == before


async def test_the_command_shows_a_table(open_gateway: Gateway) -> None:
    file = open_gateway.dir / "request.json"
    file.write_text(json.dumps({"model": "m", "input": STORY}))
    code, output, errors = await command(open_gateway, "--path", "/v1/responses", "--session", "s", str(file))
    assert (code, errors) == (0, "")
    assert "goes to r" in output
    assert all(name in output for name in open_gateway.replicas)


@pytest.mark.parametrize(
    ("body", "query", "status", "says"),
    [
        (b"{", {}, 400, "not valid JSON"),
        (b"", {}, 400, "JSON"),
        (json.dumps({**chat("x"), "model": "nope"}).encode(), {}, 404, "'nope' does not exist"),
        (b"{}", {"path": "/v1/nothing"}, 404, "nothing at /v1/nothing"),
        (b"{}", {"pth": "/v1/responses"}, 400, "as it was sent"),
    ],
)
async def test_what_would_be_refused_is_explained_as_an_error(
    open_gateway: Gateway, body: bytes, query: dict[str, str], status: int, says: str
) -> None:
    code, told = await explain(open_gateway, body, **query)
    assert code == status
    assert says in told["message"]


async def test_the_command_fails_with_the_reason(open_gateway: Gateway) -> None:
    code, output, errors = await command(open_gateway, "-", stdin=json.dumps({**chat("x"), "model": "nope"}).encode())
    assert (code, output) == (1, "")
    assert errors == "kvgate: not found: The model 'nope' does not exist or is not served here. (model)\n"


async def test_a_request_as_large_as_the_gateway_takes_can_be_explained(open_gateway: Gateway) -> None:
    status, told = await explain(open_gateway, json.dumps(chat("word " * 2_000_000)).encode())
    assert status == 200
    assert told["prompt_tokens"] > 1_000_000


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/admin", "/admin/", "/admin/nothing", "/kvgate.admin.v1.Admin/Metrics"]
)
async def test_there_is_nothing_else_on_the_operations_listener(open_gateway: Gateway, path: str) -> None:
    async with open_gateway.http.post(open_gateway.operations_url + path, data=b"{}") as response:
        assert response.status == 404
        assert (await response.json())["message"] == "There is nothing at this path."


async def test_operations_are_not_on_the_public_listener(open_gateway: Gateway) -> None:
    for path in ("/metrics", "/admin/explain"):
        async with open_gateway.http.get(path) as response:
            assert response.status == 404


async def test_prometheus_is_told_how_good_the_decisions_were(open_gateway: Gateway) -> None:
    await say(open_gateway, STORY + "metrics")
    await say(open_gateway, STORY + "metrics")
    body = {**chat(STORY + "metrics"), "stream": True}
    async with open_gateway.post(body) as response:
        await response.read()

    async def told() -> bool:
        return (await metrics(open_gateway)).get("kvgate_time_to_first_token_seconds_count", 0) > 0

    await until(told, lambda: "no TTFT in the metrics")
    page = await metrics(open_gateway)
    assert page["kvgate_routing_judged_total"] > 0
    assert page["kvgate_routing_actual_cached_tokens_total"] > 300
    assert page["kvgate_routing_predicted_cached_tokens_total"] > 300
    assert page["kvgate_routing_affinity_total"] >= 3
    assert page["kvgate_prompt_tokens_counted_total"] > 1000
    assert page["kvgate_replica_eligible"] == len(open_gateway.replicas)
    assert page["kvgate_replica_index_tokens"] > 300
    assert page["kvgate_index_blocks"] > 0


async def test_without_a_processor_operations_say_so_in_json(open_gateway: Gateway) -> None:
    lives = open_gateway.log.count("processor listens on")
    open_gateway.kill("serve")
    statuses = set()

    async def refused() -> bool:
        async with open_gateway.http.get(f"{open_gateway.operations_url}/metrics") as response:
            statuses.add(response.status)
            if response.status == 503:
                assert "cannot be asked" in (await response.json())["message"]
            return response.status == 503 or open_gateway.log.count("processor listens on") > lives

    await until(refused, lambda: f"{statuses}")
    await open_gateway.until_logged("processor listens on", times=lives + 1)

    async def back() -> bool:
        async with open_gateway.http.get(f"{open_gateway.operations_url}/metrics") as response:
            return response.status == 200

    await until(back, lambda: "metrics are not back")


async def test_a_session_is_explained_as_it_is_served() -> None:
    routing = {"strategy": "session", "session_header": "X-Conversation"}
    async with Gateway(replicas=2, routing=routing) as running:
        body = json.dumps(chat("hello")).encode()
        for session in ("s-1", "s-2", "s-3", "s-4"):
            await until_idle(running)
            status, told = await explain(running, body, session=session)
            served = (await say(running, "hello", {"x-conversation": session})).headers["x-kvgate-replica"]
            assert (status, told["replica"]) == (200, served)

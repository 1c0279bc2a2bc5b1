"""Whatever a client sends: a clear answer in OpenAI's shape, with a request id; nothing is lost, no fault is logged."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.envoy.gateway import Gateway, until

CHAT = "/v1/chat/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Gateway]:
    async with Gateway(server={"max_body_bytes": 32 << 20}) as running:
        yield running
        assert "Traceback" not in running.log
        assert "routed blind" not in running.log


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refused(response: aiohttp.ClientResponse, status: int) -> dict[str, object]:
    text = await response.text()
    assert response.status == status, text
    assert response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    error: dict[str, object] = json.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


def chat(**fields: object) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,#"}}]}]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"hello", 400, id="not JSON"),
        pytest.param(b"[]", 400, id="not an object"),
        pytest.param(b'{"model": "m\xff"}', 400, id="invalid UTF-8"),
        pytest.param(chat(model=None), 400, id="no model"),
        pytest.param(chat(model=7), 400, id="model of the wrong type"),
        pytest.param(chat(messages=None), 400, id="no messages"),
        pytest.param(chat(messages="hi"), 400, id="messages of the wrong type"),
        pytest.param(chat(messages=[7]), 400, id="a message of the wrong type"),
        pytest.param(chat(stream="yes"), 400, id="stream of the wrong type"),
        pytest.param(chat(model="nope"), 404, id="unknown model"),
        pytest.param(chat(messages=IMAGE), 400, id="undecodable base64"),
        pytest.param(b'{"model":"m","x":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, id="1,000 levels deep"),
        pytest.param(b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, id="100,000 levels deep"),
    ],
)
async def test_a_bad_body_is_refused(shared: Gateway, body: bytes, status: int) -> None:
    async with shared.http.post(CHAT, data=body, headers={"content-type": "application/json"}) as response:
        error = await refused(response, status)
    assert error["type"] == "invalid_request_error"


async def test_a_body_of_100_mb_is_too_large(shared: Gateway) -> None:
    try:
        async with shared.http.post(CHAT, data=io.BytesIO(b" " * 100_000_000)) as response:
            await refused(response, 413)
    except aiohttp.ClientConnectionError:
        pytest.fail("the connection was cut before the answer could be read")


async def test_a_truncated_upload_leaves_nothing_behind(shared: Gateway) -> None:
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", shared.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await shared.chat("still there?")).status == 200


async def test_10_000_headers_are_too_many(shared: Gateway) -> None:
    headers = {f"x-{number}": "v" for number in range(10_000)}
    async with shared.http.post(CHAT, data=chat(), headers=headers) as response:
        await refused(response, 431)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("POST", "/v1/nope", 404),
        ("GET", CHAT, 405),
        ("DELETE", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/nope", 404),
    ],
)
async def test_wrong_paths_and_methods_are_refused(shared: Gateway, method: str, path: str, status: int) -> None:
    async with shared.http.request(method, path) as response:
        await refused(response, status)


async def test_what_only_the_engine_can_judge_reaches_it(shared: Gateway) -> None:
    async with shared.http.post(CHAT, data=chat(temperature=99)) as response:
        assert response.headers["x-kvgate-replica"] in shared.replicas


async def test_clients_that_hang_up_at_any_moment_leak_no_count(shared: Gateway) -> None:
    async def ask(body: bytes) -> None:
        async with shared.http.post(CHAT, data=body) as response:
            await response.read()

    async def hang_up(after_s: float) -> None:
        body = chat(stream=True, max_tokens=500)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ask(body), after_s)

    await asyncio.gather(*(hang_up(0.0005 * step) for step in range(80)))

    async def engines_idle() -> bool:
        states = [await shared.sim_state(name) for name in shared.replicas]
        return all(state["running"] == state["waiting"] == 0 for state in states)

    await until(engines_idle, lambda: "replicas still busy")
    await until(shared.counts_no_request, lambda: shared.log[-2000:])

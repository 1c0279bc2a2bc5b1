"""Every error that Envoy makes itself looks like OpenAI's; those of the processor pass as they are."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from extproc.config.topology import Topology
from tests.envoy.plumbing import Gateway, gateway
from tests.envoy.processor_double import Decision

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(Path(tmp_path_factory.mktemp("errors"))) as g:
        yield g


@pytest.fixture
def g(running: Gateway) -> Gateway:
    """One to which nothing has been done: for tests that stop nothing."""
    running.processor.decide = lambda headers, body: Decision()
    return running


def assert_openai_error(answer: tuple[int, dict[str, str], Any], status: int, kind: str, code: str | None) -> None:
    got, headers, body = answer
    assert got == status
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert list(body) == ["error"]
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["code"], body["error"]["param"]) == (kind, code, None)
    assert body["error"]["message"]


async def test_an_unknown_path(g: Gateway) -> None:
    answer = await g.request("GET", "/nope", headers={"x-request-id": "mine"})
    assert_openai_error(answer, 404, "invalid_request_error", "unknown_path")
    assert answer[1]["x-request-id"] == "mine"


async def test_a_body_over_the_limit(tmp_path: Path) -> None:
    async with gateway(tmp_path, max_body_bytes=2 << 20) as g:
        assert (await g.post(data=io.BytesIO(b"x" * (2 << 20))))[0] == 200
        answer = await g.post(data=io.BytesIO(b"x" * ((2 << 20) + 1)), headers={"x-request-id": "mine"})
        assert_openai_error(answer, 413, "invalid_request_error", "body_too_large")
        assert answer[1]["x-request-id"] == "mine"


async def test_64_mib_pass_by_default_and_more_does_not(g: Gateway) -> None:
    status, _, body = await g.post(data=io.BytesIO(b"x" * (64 << 20)))
    assert (status, body["bytes"]) == (200, 64 << 20)
    answer = await g.post(data=io.BytesIO(b"x" * ((64 << 20) + 1)))
    assert_openai_error(answer, 413, "invalid_request_error", "body_too_large")


@pytest.mark.parametrize(
    "headers", [{f"h{number}": "x" for number in range(10_000)}, {"h": "x" * 200_000}], ids=["many", "long"]
)
async def test_too_many_or_too_long_headers(g: Gateway, headers: dict[str, str]) -> None:
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    answer = await raw(g, f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{lines}\r\n")
    assert_openai_error(answer, 431, "invalid_request_error", "headers_too_large")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /v1/models HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET /v1/models HTTP/1.0\r\nhost: x\r\n\r\n", 426),
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 403),
    ],
    ids=["no host", "not HTTP", "HTTP/1.0", "upgrade"],
)
async def test_requests_that_are_not_proper_http(g: Gateway, request_text: str, status: int) -> None:
    assert_openai_error(await raw(g, request_text), status, "invalid_request_error", None)


async def test_no_replica_left(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for engine in g.engines:
            await engine.stop()
        answer = await g.post()
        assert_openai_error(answer, 503, "server_error", "no_replica")
        assert answer[1]["retry-after"] == "1"
        assert "127.0.0.1" not in answer[2]["error"]["message"], "clients are not told where replicas are"


async def test_a_cluster_that_does_not_exist(g: Gateway) -> None:
    g.processor.decide = lambda h, b: Decision("nowhere")
    assert_openai_error(await g.post(), 503, "server_error", "no_replica")


async def test_no_clusters_at_all(tmp_path: Path) -> None:
    async with gateway(tmp_path, fleet=Topology({}, {}, None)) as g:
        assert_openai_error(await g.post(), 503, "server_error", "no_replica")


async def test_replicas_that_all_stay_silent(tmp_path: Path) -> None:
    async with gateway(tmp_path, request_timeout_s=0.1) as g:

        async def silence(request: object, body: bytes) -> Any:
            await asyncio.Event().wait()

        for engine in g.engines:
            engine.reply = silence
        assert_openai_error(await g.post(), 504, "server_error", "timeout")


@pytest.mark.parametrize("status", [200, 400, 401, 404, 413, 429, 503])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_the_processors_own_answers_pass_unchanged(g: Gateway, status: int, kind: str) -> None:
    body = json.dumps({"mine": status}).encode()
    own = {"content-type": kind, "retry-after": "7", "allow": "POST", "x-kvgate-cache": "exact"}
    g.processor.decide = lambda h, b: Decision(immediate=(status, own, body))
    got, headers, received = await g.post(headers={"x-request-id": "mine"})
    assert (got, received) == (status, {"mine": status})
    assert own.items() <= headers.items()
    assert headers["x-request-id"] == "mine"


async def raw(g: Gateway, request: str) -> tuple[int, dict[str, str], Any]:
    """What comes back for these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", g.envoy.settings.server.port)
    try:
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body)
    finally:
        writer.close()

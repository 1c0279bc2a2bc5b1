"""What `envoy/reply.lua` does to a reply that the processor marked, and that it leaves every other one as it is."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.envoy.engine import answering
from tests.envoy.plumbing import Gateway, gateway
from tests.envoy.processor_double import Decision

pytestmark = pytest.mark.asyncio(loop_scope="module")

USAGE = {"prompt_tokens": 30, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 16}}
LOGGED = {"prompt_tokens": 30, "completion_tokens": 12, "cached_tokens": 16}

ROLE = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}\n\n'
TEXT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"h\xc3\xa9 \\"choices\\":[] \\"usage\\":{"}}]}\n\n'
COMMENT = b": keep-alive\n\n"
NO_CHOICES = b'data: {"choices":[],"prompt_filter_results":[{"index":0}],"usage":null}\n\n'
OTHER = b'event: error\nid: 7\ndata: {"error":{"message":"no"}}\n\n'
LAST = b"data: [DONE]\n\n"
USAGE_EVENT = b"data: " + json.dumps({"id": "1", "choices": [], "usage": USAGE}).encode() + b"\n\n"
COMPACT_USAGE_EVENT = USAGE_EVENT.replace(b", ", b",").replace(b": ", b":").replace(b"data:", b"data: ")
_IDS = itertools.count()
SEEN = [ROLE, COMMENT, TEXT, NO_CHOICES, OTHER]

HIDE = {"hide_usage": True}
ABOUT = {
    "about": '"cache":"miss","provider":"p","upstream_model":"u"',
    "prices": {"input": 1.0, "cached": 0.5, "output": 2.0},
    "routed_unix_ms": 0.0,
    "spent_ms": 7.0,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(Path(tmp_path_factory.mktemp("replies")), engines=1) as running:
        yield running


def marked(proxy: Gateway, reply: Any, metadata: dict[str, Any]) -> None:
    """The engine answers so from now on, and the processor marks it."""
    proxy.engines[0].reply = reply
    proxy.processor.decide = lambda headers, body: Decision("pool", metadata=metadata)


def writing(*writes: bytes, between: Callable[[], Awaitable[Any]] | None = None, **headers: str) -> Any:
    """A stream that is written in just these pieces."""

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **named})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in writes:
            await response.write(piece)
            await (between() if between else asyncio.sleep(0))
        await response.write_eof()
        return response

    return reply


async def exchange(
    proxy: Gateway, reply: Any, metadata: dict[str, Any], method: str = "POST"
) -> tuple[aiohttp.ClientResponse, bytes]:
    marked(proxy, reply, metadata)
    async with ask(proxy, method) as response:
        return response, await response.read()


def ask(proxy: Gateway, method: str = "POST") -> Any:
    headers = {"x-request-id": f"ask-{next(_IDS)}"}
    return proxy.session.request(method, f"{proxy.envoy.url}/v1/chat/completions", json={"model": "m"}, headers=headers)


async def logged_usage(proxy: Gateway, response: aiohttp.ClientResponse) -> dict[str, Any]:
    """What the access log says of the usage in a reply."""
    while (entry := await proxy.processor.entry()).request.request_id != response.headers["x-request-id"]:
        pass
    usage = dict(entry.common_properties.metadata.filter_metadata["kvgate.usage"].items())
    return {key: value for key, value in usage.items() if isinstance(value, float)}


def crlf(events: list[bytes]) -> list[bytes]:
    return [event.replace(b"\n", b"\r\n") for event in events]


STREAM = [*SEEN, USAGE_EVENT, LAST]
CUT = len(USAGE_EVENT) // 2


@pytest.mark.parametrize(
    "writes",
    [
        [b"".join(STREAM)],
        [b"".join([*SEEN, COMPACT_USAGE_EVENT, LAST])],
        STREAM,
        [bytes([byte]) for byte in b"".join(STREAM)],
        [b"".join(SEEN), USAGE_EVENT + LAST],
        [b"".join(SEEN) + USAGE_EVENT[:CUT], USAGE_EVENT[CUT:] + LAST],
        [b"".join(SEEN) + USAGE_EVENT[:-1], USAGE_EVENT[-1:] + LAST],
        [b"".join(SEEN)[:-1], b"\n" + USAGE_EVENT + LAST],
        [USAGE_EVENT, b"".join([*SEEN, LAST])],
    ],
    ids=[
        "one write",
        "one write, compact",
        "a write an event",
        "a byte a write",
        "two events in the last write",
        "cut in the middle",
        "cut between its line ends",
        "line ends of the event before come with it",
        "usage first",
    ],
)
async def test_a_usage_event_that_only_the_gateway_asked_for_does_not_reach_the_client(
    proxy: Gateway, writes: list[bytes]
) -> None:
    response, body = await exchange(proxy, writing(*writes), HIDE)
    assert body == b"".join([*SEEN, LAST])
    assert await logged_usage(proxy, response) == LOGGED


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["a byte a write", "seven bytes", "one write"])
async def test_lines_may_end_with_carriage_returns_too(proxy: Gateway, size: int) -> None:
    whole = b"".join(crlf(STREAM))
    response, body = await exchange(proxy, writing(*(whole[at : at + size] for at in range(0, len(whole), size))), HIDE)
    assert body == b"".join(crlf([*SEEN, LAST]))
    assert await logged_usage(proxy, response) == LOGGED


async def test_an_event_reaches_the_client_before_the_next_one_is_there(proxy: Gateway) -> None:
    read = asyncio.Event()
    marked(proxy, writing(TEXT, USAGE_EVENT[:CUT], USAGE_EVENT[CUT:] + LAST, between=read.wait), HIDE)
    async with ask(proxy) as stream:
        assert await stream.content.readexactly(len(TEXT)) == TEXT
        read.set()
        assert await stream.content.read() == LAST


async def test_a_stream_that_is_not_marked_keeps_its_usage(proxy: Gateway) -> None:
    response, body = await exchange(proxy, writing(*STREAM), {"ticket": "1"})
    assert body == b"".join(STREAM)
    assert await logged_usage(proxy, response) == LOGGED


@pytest.mark.parametrize(
    "tail",
    [b"data: [DONE]", b"data: [DONE]\n", b'data: {"choices":[{"delta":{"content":"half', b"\n", b"data: \xff\xfe"],
    ids=["no line end", "one line end", "half an event", "an empty line", "no UTF-8"],
)
async def test_what_comes_after_the_last_whole_event_is_passed_on_when_the_stream_ends(
    proxy: Gateway, tail: bytes
) -> None:
    _, body = await exchange(proxy, writing(TEXT, tail), HIDE)
    assert body == TEXT + tail


async def test_a_usage_event_without_a_last_line_end_is_hidden_all_the_same(proxy: Gateway) -> None:
    _, body = await exchange(proxy, writing(TEXT, USAGE_EVENT[:-2]), HIDE)
    assert body == TEXT


async def test_a_stream_of_a_megabyte_without_an_empty_line_is_not_held_back(proxy: Gateway) -> None:
    long = b"data: " + b"x" * 1_500_000 + b"\n\n"
    _, body = await exchange(proxy, writing(TEXT, long, USAGE_EVENT, LAST), HIDE)
    assert body == TEXT + long + LAST


async def test_a_stream_that_breaks_off_breaks_off_for_the_client_after_its_last_whole_event(proxy: Gateway) -> None:
    read = asyncio.Event()

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(TEXT + USAGE_EVENT[:CUT])
        await read.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    marked(proxy, reply, HIDE)
    async with ask(proxy) as stream:
        assert await stream.content.readexactly(len(TEXT)) == TEXT
        read.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()
    assert await logged_usage(proxy, stream) == {}


@pytest.mark.parametrize("metadata", [HIDE, HIDE | ABOUT], ids=["hide", "hide and about"])
@pytest.mark.parametrize(
    ("status", "headers"),
    [(400, {}), (200, {"content_encoding": "gzip"}), (200, {"content_type": "text/plain"})],
    ids=["an error", "compressed", "no events"],
)
async def test_what_is_no_readable_stream_passes_byte_for_byte(
    proxy: Gateway, status: int, headers: dict[str, str], metadata: dict[str, Any]
) -> None:
    sent = b"".join(STREAM)
    sent = gzip.compress(sent) if "content_encoding" in headers else sent
    proxy.engines[0].reply = answering(status, sent, **{"content_type": "text/event-stream", **headers})
    proxy.processor.decide = lambda h, b: Decision("pool", metadata=metadata)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as raw,
        raw.post(f"{proxy.envoy.url}/v1/chat/completions", json={"model": "m"}) as response,
    ):
        assert (response.status, await response.read()) == (status, sent)


# -- the object `kvgate` of a JSON reply ---------------------------------------------------------------------------


async def test_a_json_reply_says_where_it_came_from_what_it_cost_and_how_long_it_took(proxy: Gateway) -> None:
    response, body = await exchange(proxy, answering(200, {"id": "1", "usage": USAGE}), ABOUT)
    reply = json.loads(body)
    told = reply.pop("kvgate")
    assert reply == {"id": "1", "usage": USAGE}
    assert int(response.headers["content-length"]) == len(body)
    assert (told["cache"], told["provider"], told["upstream_model"]) == ("miss", "p", "u")
    assert told["estimated_cost_usd"] == pytest.approx((14 * 1.0 + 16 * 0.5 + 12 * 2.0) / 1000)
    assert told["latency_ms"] == pytest.approx(told["upstream_latency_ms"] + 7.0)
    assert await logged_usage(proxy, response) == LOGGED


async def test_every_byte_before_the_object_is_the_engines_own(proxy: Gateway) -> None:
    sent = b'\r\n{ "big":123456789012345678901234567890, "f" : 1.10, "e":1E-7 ,"s":"\\u00e9\xc3\xa9}", "a":[ {} ]\n }\n'
    _, body = await exchange(proxy, answering(200, sent, content_type="application/json; charset=utf-8"), ABOUT)
    own = sent.rstrip()[:-1].rstrip()
    assert body.startswith(own + b',"kvgate":{"cache":"miss"')
    assert json.loads(body)["big"] == 123456789012345678901234567890
    assert "estimated_cost_usd" not in json.loads(body)["kvgate"]


async def test_a_reply_in_pieces_gets_the_object_and_a_length(proxy: Gateway) -> None:
    whole = json.dumps({"text": "x" * 50_000, "usage": USAGE}).encode()
    pieces = [whole[at : at + 5000] for at in range(0, len(whole), 5000)]
    response, body = await exchange(proxy, writing(*pieces, content_type="application/json"), ABOUT)
    assert json.loads(body)["kvgate"]["estimated_cost_usd"] > 0
    assert int(response.headers["content-length"]) == len(body)
    assert "transfer-encoding" not in response.headers


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b'"text"',
        b"null",
        b"not json",
        b'{"a": 1',
        b"{nope}",
        b'{"a": 1,}',
        b'{"a": 1}{"b": 2}',
        b'{"a": 1}\n{"b": 2}\n',
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
        b'{"a": ' + b" " * (1 << 19) + b"x",
    ],
    ids=[
        "nothing",
        "an empty object",
        "a list",
        "a text",
        "null",
        "no JSON",
        "half an object",
        "malformed",
        "a comma too many",
        "two objects",
        "JSON lines",
        "over a megabyte",
        "half a megabyte of spaces",
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "chunked"])
async def test_json_that_is_no_object_of_reasonable_size_stays_as_it_is(
    proxy: Gateway, sent: bytes, whole: bool
) -> None:
    kind = "application/json"
    reply = answering(200, sent, content_type=kind) if whole else writing(sent, content_type=kind)
    _, body = await exchange(proxy, reply, ABOUT)
    assert body == sent


@pytest.mark.parametrize(
    "reply",
    [
        answering(404, {"error": {"message": "no"}}),
        answering(200, b'{"a": 1}', content_type="application/json", content_encoding="x-own"),
        answering(200, b'{"a": 1}\n{"b": 2}\n', content_type="application/jsonl"),
        answering(200, b'{"a": 1}', content_type="text/plain"),
    ],
    ids=["an error", "encoded", "JSON lines", "text"],
)
async def test_a_reply_that_is_no_answer_in_json_gets_no_object(proxy: Gateway, reply: Any) -> None:
    marked(proxy, reply, ABOUT)
    async with aiohttp.ClientSession(auto_decompress=False) as raw:
        async with raw.post(f"http://{proxy.engines[0].address}/x", json={}) as direct:
            sent = await direct.read()
        async with raw.post(f"{proxy.envoy.url}/v1/chat/completions", json={"model": "m"}) as response:
            assert (response.status, await response.read()) == (direct.status, sent)


async def test_a_json_reply_that_is_not_marked_stays_as_it_is(proxy: Gateway) -> None:
    _, body = await exchange(proxy, answering(200, b'{"a": 1}', content_type="application/json"), HIDE)
    assert body == b'{"a": 1}'


async def test_a_reply_without_a_body_has_none_afterwards(proxy: Gateway) -> None:
    response, body = await exchange(proxy, answering(204, content_type="application/json"), ABOUT)
    assert (response.status, body) == (204, b"")
    response, body = await exchange(
        proxy, answering(200, b'{"a": 1}', content_type="application/json"), ABOUT, method="HEAD"
    )
    assert (response.status, body, response.headers["content-length"]) == (200, b"", "8")


async def test_nothing_of_this_is_an_error_in_envoys_log(proxy: Gateway) -> None:
    assert "[error]" not in proxy.envoy.log.read_text()

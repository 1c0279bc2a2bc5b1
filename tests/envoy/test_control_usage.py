"""Token usage reaches the access log, whatever the dialect, without Python in the response path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.engine import answering, streaming
from tests.envoy.plumbing import Gateway, gateway
from tests.envoy.processor_double import Decision

WANTED = {"prompt_tokens": 30, "completion_tokens": 12, "cached_tokens": 16}
OPENAI = {"prompt_tokens": 30, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 16}}
RESPONSES = {"input_tokens": 30, "output_tokens": 12, "input_tokens_details": {"cached_tokens": 16}}
ANTHROPIC = {"input_tokens": 30, "output_tokens": 12, "cache_read_input_tokens": 16}

CHUNK: dict[str, Any] = {"choices": [{"delta": {"content": "hi"}}], "usage": None}
ANTHROPIC_START = {"type": "message_start", "message": {"usage": {**ANTHROPIC, "output_tokens": 1}}}
ANTHROPIC_END = {"type": "message_delta", "usage": {"output_tokens": 12}}
LONG_ANSWER = {"type": "response.completed", "response": {"output": "x" * 2_000_000, "usage": RESPONSES}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One engine, for requests one after the other, so that the next entry of the log is that of the latest."""
    async with gateway(Path(tmp_path_factory.mktemp("usage")), engines=1) as running:
        yield running


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("usage", [OPENAI, RESPONSES, ANTHROPIC], ids=["openai", "responses", "anthropic"])
async def test_usage_of_a_json_answer(lone: Gateway, usage: dict[str, Any], kind: str) -> None:
    assert await usage_logged(lone, answering(200, {"usage": usage}, content_type=kind)) == WANTED


@pytest.mark.parametrize(
    "events",
    [
        [CHUNK, CHUNK, {"choices": [], "usage": OPENAI}, "[DONE]"],
        [CHUNK | {"usage": {"prompt_tokens": 30, "completion_tokens": 1}}, {"usage": OPENAI}, "[DONE]"],
        [{"type": "response.created", "response": {"usage": None}}, LONG_ANSWER],
        [ANTHROPIC_START, {"type": "content_block_delta"}, ANTHROPIC_END],
    ],
    ids=["openai", "openai, continuous", "responses, 2 MB in the last event", "anthropic"],
)
async def test_usage_of_a_stream(lone: Gateway, events: list[Any]) -> None:
    assert await usage_logged(lone, streaming(events)) == WANTED


async def test_an_engine_that_does_not_say_what_was_cached(lone: Gateway) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 12, "prompt_tokens_details": None}
    logged = await usage_logged(lone, answering(200, {"usage": usage}))
    assert logged == {"prompt_tokens": 30, "completion_tokens": 12}


@pytest.mark.parametrize(
    "reply",
    [
        answering(200, b"not json", content_type="application/json"),
        answering(200, b"", content_type="application/json"),
        answering(200, b"plain", content_type="text/plain"),
        answering(200, {"usage": "none"}),
        answering(200, {"usage": {"prompt_tokens": {}}}),
        streaming(["not json", "[DONE]"]),
        streaming([]),
    ],
)
async def test_an_answer_without_usage_passes_and_is_logged(lone: Gateway, reply: Any) -> None:
    logged = await usage_logged(lone, reply)
    assert not {key: value for key, value in logged.items() if isinstance(value, float)}


async def test_an_answer_of_5_mb_passes(lone: Gateway) -> None:
    assert await usage_logged(lone, answering(200, {"data": "x" * 5_000_000, "usage": OPENAI})) == WANTED


async def test_an_entry_says_all_that_the_processor_set(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        order = tuple(each.address for each in g.engines)
        g.processor.decide = lambda h, b: Decision("pool", order, metadata={"key": "abc", "decided": {"score": 1.5}})
        await g.post(headers={"x-request-id": "mine"})
        entry = await g.processor.entry()
        metadata = entry.common_properties.metadata.filter_metadata
        assert metadata["kvgate"]["key"] == "abc"
        assert metadata["kvgate"]["decided"]["score"] == 1.5
        assert metadata["envoy.lb"]["x-gateway-destination-endpoint"] == ",".join(order)
        assert metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] == order[0]
        assert entry.common_properties.upstream_cluster == "pool"
        assert entry.request.request_id == "mine"
        assert entry.response.response_code.value == 200


async def test_the_log_goes_on_after_the_processor_was_away(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        await g.post(headers={"x-request-id": "before"})
        assert (await g.processor.entry()).request.request_id == "before"
        await g.processor.stop()
        await g.post(headers={"x-request-id": "meanwhile"})
        await g.processor.start()
        await g.post(headers={"x-request-id": "after"})
        told = (await g.processor.entry()).request.request_id
        if told == "meanwhile":  # it may have waited out the outage in Envoy's buffer, or be lost
            told = (await g.processor.entry()).request.request_id
        assert told == "after"


async def usage_logged(lone: Gateway, reply: Any) -> dict[str, Any]:
    """What the access log says of one answered request."""
    lone.engines[0].reply = reply
    status, _, _ = await lone.post()
    assert status == 200
    entry = await lone.processor.entry()
    return dict(entry.common_properties.metadata.filter_metadata["kvgate.usage"].items())

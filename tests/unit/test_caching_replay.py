"""A stored answer as a reply: as JSON, and as a stream that the SDKs of each dialect understand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from extproc.api.requests import Endpoint
from extproc.caching.answer import Answer
from extproc.caching.dialects.reply import Unfit
from extproc.caching.replay import json_reply, sse_reply
from extproc.caching.sse import EventReader
from tests.unit.caching_replies import (
    CHAT,
    CHAT_REPLIES,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGE_REPLIES,
    MESSAGES,
    REPLIES,
    RESPONSE_REPLIES,
    RESPONSES,
    TEXT_REPLIES,
    Json,
    answer,
    call_of,
    chat_reply,
    choices_in,
    collect,
    message_reply,
    response_reply,
)

ABOUT = {"cache": "exact", "latency_ms": 0.4}

words = st.text(max_size=300)
arguments = st.dictionaries(words, st.one_of(words, st.integers(-9, 9), st.lists(words, max_size=2)), max_size=3)
calls = st.builds(lambda a, i: call_of("f", orjson.dumps(a).decode(), i), arguments, words)
chat_messages = st.fixed_dictionaries(
    {"content": st.none() | words},
    optional={
        "reasoning": st.none() | words,
        "reasoning_content": words,
        "refusal": st.none() | words,
        "tool_calls": st.lists(calls, max_size=3),
        "annotations": st.lists(arguments, max_size=2),
        "mood": words,
    },
)
blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": words}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": words, "signature": words}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": words, "name": words, "input": arguments}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": words}),
)
outputs = st.one_of(
    words.map(lambda text: {"id": "m", "type": "message", "content": [{"type": "output_text", "text": text}]}),
    arguments.map(lambda a: {"id": "f", "type": "function_call", "arguments": orjson.dumps(a).decode()}),
)


def events(stream: bytes) -> list[Any]:
    return [data if data == b"[DONE]" else orjson.loads(data) for data in EventReader().feed(stream)]


def back(endpoint: Endpoint, reply: Json) -> Answer | None:
    return collect(endpoint, sse_reply(answer(endpoint, reply), True, ABOUT), choices=choices_in(reply))


@pytest.mark.parametrize(("endpoint", "name", "reply"), REPLIES, ids=lambda value: value if type(value) is str else "")
def test_a_replayed_stream_collects_to_the_same_answer(endpoint: Endpoint, name: str, reply: Json) -> None:
    collected = back(endpoint, reply)
    assert collected is not None
    assert orjson.loads(collected.body) == reply
    assert collected.usage == answer(endpoint, reply).usage


@given(st.lists(chat_messages, min_size=1, max_size=3))
def test_any_chat_answer_survives_the_way_to_a_stream_and_back(messages: list[Json]) -> None:
    reply = chat_reply(*messages)
    collected = back(CHAT, reply)
    assert collected is not None and orjson.loads(collected.body) == reply


@given(st.lists(words, min_size=1, max_size=3))
def test_any_completion_survives_the_way_to_a_stream_and_back(texts: list[str]) -> None:
    choices = [{"index": i, "text": text, "finish_reason": "stop"} for i, text in enumerate(texts)]
    reply = {**TEXT_REPLIES["text"], "choices": choices}
    collected = back(COMPLETIONS, reply)
    assert collected is not None and orjson.loads(collected.body) == reply


@given(st.lists(blocks, max_size=4))
def test_any_message_survives_the_way_to_a_stream_and_back(content: list[Json]) -> None:
    collected = back(MESSAGES, message_reply(*content))
    assert collected is not None and orjson.loads(collected.body) == message_reply(*content)


@given(st.lists(outputs, max_size=3))
def test_any_response_survives_the_way_to_a_stream_and_back(output: list[Json]) -> None:
    collected = back(RESPONSES, response_reply(*output))
    assert collected is not None and orjson.loads(collected.body) == response_reply(*output)


@pytest.mark.parametrize(("endpoint", "name", "reply"), REPLIES, ids=lambda value: value if type(value) is str else "")
def test_a_blocking_reply_says_that_it_comes_from_the_cache(endpoint: Endpoint, name: str, reply: Json) -> None:
    stored = answer(endpoint, reply)
    assert orjson.loads(json_reply(stored, ABOUT)) == {**reply, "kvgate": ABOUT}
    assert json_reply(stored, {}) == stored.body
    assert json_reply(Answer(endpoint, stored.body + b"\n ", 0.0), ABOUT) == json_reply(stored, ABOUT)


def test_a_stream_says_that_it_comes_from_the_cache_where_the_sdks_keep_it() -> None:
    def told(endpoint: Endpoint, reply: Json) -> list[Any]:
        stream = events(sse_reply(answer(endpoint, reply), True, ABOUT))
        return [event for event in stream if "kvgate" in repr(event)]

    (first,) = told(CHAT, CHAT_REPLIES["text"])
    assert first["kvgate"] == ABOUT and first["choices"][0]["delta"]["role"] == "assistant"
    (started,) = told(MESSAGES, MESSAGE_REPLIES["text"])
    assert started["message"]["kvgate"] == ABOUT
    (completed,) = told(RESPONSES, RESPONSE_REPLIES["text"])
    assert completed["response"]["kvgate"] == ABOUT


def test_usage_is_told_only_to_who_asked_and_only_where_it_is_known() -> None:
    reply = CHAT_REPLIES["text"]
    *_, last, done = events(sse_reply(answer(CHAT, reply), True, {}))
    assert (last["choices"], last["usage"], done) == ([], reply["usage"], b"[DONE]")
    assert b"usage" not in sse_reply(answer(CHAT, reply), False, {})
    unknown = {name: value for name, value in reply.items() if name != "usage"}
    assert b"usage" not in sse_reply(answer(CHAT, unknown), True, {})


def test_a_chat_stream_has_the_shape_that_clients_know() -> None:
    stream = events(sse_reply(answer(CHAT, CHAT_REPLIES["text and a call"]), True, {}))
    deltas = [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in stream[:-2]]
    assert deltas[0] == ({"role": "assistant", "content": ""}, None)
    assert deltas[1] == ({"content": "Let me look."}, None)
    assert deltas[2][0]["tool_calls"][0]["index"] == 0
    assert deltas[3] == ({}, "tool_calls")
    assert {c["object"] for c in stream[:-1]} == {"chat.completion.chunk"}
    assert {(c["id"], c["created"], c["model"]) for c in stream[:-1]} == {("chatcmpl-1", 7, "m")}


def test_an_embedding_has_no_stream() -> None:
    with pytest.raises(Unfit):
        sse_reply(answer(EMBEDDINGS, {"data": []}), False, {})


@asynccontextmanager
async def sdk(stored: Answer, stream: bool) -> AsyncIterator[AsyncOpenAI]:
    """The official SDK, in front of a server that has only this one answer."""
    body = sse_reply(stored, True, ABOUT) if stream else json_reply(stored, ABOUT)
    content_type = "text/event-stream" if stream else "application/json"

    async def reply(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type)

    app = web.Application()
    app.router.add_post(stored.endpoint.value, reply)
    async with (
        TestServer(app) as server,
        AsyncOpenAI(base_url=f"http://{server.host}:{server.port}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "name", sorted(CHAT_REPLIES.keys() - {"custom tool"})
)  # which the SDK's helper itself cannot read
async def test_the_sdk_makes_the_stored_chat_answer_of_the_stream(name: str) -> None:
    reply = CHAT_REPLIES[name]
    async with (
        sdk(answer(CHAT, reply), True) as openai,
        openai.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        whole = await stream.get_final_completion()
    assert (whole.id, whole.usage and whole.usage.total_tokens) == (reply["id"], 14)
    for choice, stored in zip(whole.choices, reply["choices"], strict=True):
        message, expected = choice.message, stored["message"]
        assert choice.finish_reason == stored["finish_reason"]
        assert (message.content or None) == (expected["content"] or None)
        assert message.refusal == expected.get("refusal")
        calls = [call.model_dump(exclude_unset=True) for call in message.tool_calls or []]
        expected_calls = expected.get("tool_calls") or []
        assert [call["id"] for call in calls] == [call["id"] for call in expected_calls]
        for call, expected_call in zip(calls, expected_calls, strict=True):
            if call["type"] == "function":
                assert call["function"]["arguments"] == expected_call["function"]["arguments"]
        if stored.get("logprobs"):
            assert choice.logprobs is not None and len(choice.logprobs.content or []) == 40


@pytest.mark.parametrize("name", TEXT_REPLIES)
async def test_the_sdk_reads_a_stored_completion(name: str) -> None:
    reply = TEXT_REPLIES[name]
    texts = dict.fromkeys(range(len(reply["choices"])), "")
    usage = None
    async with sdk(answer(COMPLETIONS, reply), True) as openai:
        async for chunk in await openai.completions.create(model="m", prompt="x", stream=True):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] += choice.text
    assert list(texts.values()) == [choice["text"] for choice in reply["choices"]]
    assert usage is not None and usage.total_tokens == 14


@pytest.mark.parametrize("name", RESPONSE_REPLIES)
async def test_the_sdk_makes_the_stored_response_of_the_stream(name: str) -> None:
    reply = RESPONSE_REPLIES[name]
    deltas = ""
    async with sdk(answer(RESPONSES, reply), True) as openai, openai.responses.stream(model="m", input="x") as stream:
        async for event in stream:
            deltas += event.delta if event.type == "response.output_text.delta" else ""
            whole = event.response if event.type in ("response.completed", "response.incomplete") else None
    assert whole is not None and whole.id == "resp_1"
    assert (deltas, whole.output_text) == (whole.output_text, deltas)
    assert [item.type for item in whole.output] == [item["type"] for item in reply["output"]]


async def test_the_sdk_reads_a_stored_answer_at_once() -> None:
    async with sdk(answer(CHAT, CHAT_REPLIES["tool calls"]), False) as openai:
        whole = await openai.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert whole.choices[0].message.tool_calls is not None
    assert whole.model_extra is not None and whole.model_extra["kvgate"] == ABOUT

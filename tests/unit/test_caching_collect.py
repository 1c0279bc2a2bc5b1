"""What is kept of a reply that passes by, and what is not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.api.requests import Endpoint
from extproc.caching.answer import Usage
from extproc.caching.collect import Collector
from extproc.caching.replay import json_reply, sse_reply
from extproc.caching.sse import EventReader
from tests.unit.caching_replies import (
    CHAT,
    CHAT_REPLIES,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    REPLIES,
    RESPONSES,
    WEATHER,
    Json,
    answer,
    call_of,
    chat_reply,
    choices_in,
    collect,
    engine_json,
    engine_stream,
    message_reply,
    response_reply,
    sse,
)

STREAMED = [CHAT, COMPLETIONS, RESPONSES, MESSAGES]


def body_of(endpoint: Endpoint, *chunks: bytes, **how: Any) -> Json:
    collected = collect(endpoint, *chunks, **how)
    assert collected is not None
    return dict(orjson.loads(collected.body))


def chunk(*choices: Json, **fields: Any) -> Json:
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    return {**envelope, "choices": list(choices), **fields}


def delta(finish_reason: str | None = None, index: int = 0, **fields: Any) -> Json:
    return {"index": index, "delta": fields, "finish_reason": finish_reason}


@pytest.mark.parametrize("endpoint", STREAMED)
def test_a_stream_of_the_engine_becomes_the_reply_it_would_have_given_at_once(endpoint: Endpoint) -> None:
    text = "Der Dom ist hoch."
    found = body_of(endpoint, engine_stream(endpoint, text))
    whole = orjson.loads(engine_json(endpoint, text))
    assert found["id"] == whole["id"] and found["usage"] == whole["usage"]
    text = text.replace(" ", "")  # the pieces of the double are the words, without what is between
    match endpoint:
        case Endpoint.CHAT_COMPLETIONS:
            assert found["object"] == "chat.completion"
            assert found["choices"][0]["message"] == {"role": "assistant", "content": text}
            assert found["choices"][0]["finish_reason"] == "stop"
        case Endpoint.COMPLETIONS:
            assert found["object"] == "text_completion"
            assert found["choices"][0]["text"] == text
        case Endpoint.RESPONSES | Endpoint.MESSAGES:
            assert found == whole


@pytest.mark.parametrize("endpoint", [*STREAMED])
def test_a_blocking_reply_is_kept_byte_for_byte(endpoint: Endpoint) -> None:
    body = b" " + engine_json(endpoint, "a b").replace(b'"model"', b'"vllm_extra": 1.50, "model"') + b"\n"
    collected = collect(endpoint, body[:9], body[9:], stream=False)
    assert collected is not None and collected.body == body
    assert collected.created_s == 1000.0


def test_usage_is_read_in_every_dialect() -> None:
    for endpoint in STREAMED:
        collected = collect(endpoint, engine_stream(endpoint, "a b"))
        assert collected is not None and collected.usage == Usage(11, 3, 4)


def test_an_answer_without_usage_is_kept_without() -> None:
    collected = collect(CHAT, engine_stream(CHAT, "a b", include_usage=False))
    assert collected is not None and collected.usage is None and b"usage" not in collected.body


def test_embeddings_are_kept_when_each_input_has_one() -> None:
    body = orjson.dumps({"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 2}})
    collected = collect(EMBEDDINGS, body, stream=False)
    assert collected is not None and collected.usage == Usage(2, 0)
    assert collect(EMBEDDINGS, body, stream=False, choices=2) is None
    assert collect(EMBEDDINGS, body, stream=True) is None


@pytest.mark.parametrize(("endpoint", "name", "reply"), REPLIES, ids=lambda value: value if type(value) is str else "")
@given(data=st.data())
def test_where_a_stream_is_cut_into_chunks_does_not_matter(
    endpoint: Endpoint, name: str, reply: Json, data: st.DataObject
) -> None:
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    stream = sse_reply(answer(endpoint, reply), True, {}).replace(b"\n\n", b"\n: ping\n\n:\n").replace(b"\n", line_end)
    stream += b"\n" if line_end == b"\r" else b""  # a last CR may yet be half of a line end
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert body_of(endpoint, *chunks, choices=choices_in(reply)) == reply


def test_byte_by_byte_is_as_good() -> None:
    reply = CHAT_REPLIES["text"]
    stream = sse_reply(answer(CHAT, reply), True, {})
    assert body_of(CHAT, *(stream[i : i + 1] for i in range(len(stream)))) == reply


def test_data_may_span_lines() -> None:
    stream = b'\xef\xbb\xbfevent: x\ndata: {"choices": [{"index": 0,\ndata:"delta": {"content": "a"},\nid: 7\n'
    stream += b'data: "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    assert body_of(CHAT, stream)["choices"][0]["message"]["content"] == "a"


@pytest.mark.parametrize("endpoint", STREAMED)
@given(data=st.data())
def test_a_stream_that_is_cut_off_is_never_kept(endpoint: Endpoint, data: st.DataObject) -> None:
    stream = engine_stream(endpoint, "Der Dom", include_usage=False)
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert collect(endpoint, stream[:cut]) is None


def test_choices_that_come_interleaved_are_told_apart() -> None:
    stream = sse(
        chunk(delta(index=1, role="assistant", content="")),
        chunk(delta(index=0, role="assistant", content="a")),
        chunk(delta(index=1, content="x"), delta(index=0, content="b")),
        chunk(delta("stop", index=1)),
        chunk(delta("length", index=0)),
        "[DONE]",
    )
    first, second = body_of(CHAT, stream, choices=2)["choices"]
    assert (first["message"]["content"], first["finish_reason"]) == ("ab", "length")
    assert (second["message"]["content"], second["finish_reason"]) == ("x", "stop")
    assert collect(CHAT, stream, choices=3) is None, "a choice is missing"


def test_tool_calls_come_in_pieces() -> None:
    stream = sse(
        chunk(delta(role="assistant", content=None)),
        chunk(delta(tool_calls=[{"index": 0, **call_of("weather", "")}])),
        chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}])),
        chunk(
            delta(tool_calls=[{"index": 0, "id": None, "function": {"name": None, "arguments": '"Köln", "days": 3}'}}])
        ),
        chunk(delta(tool_calls=[{"index": 1, **call_of("time", "{}", "call_2")}])),
        chunk(delta("tool_calls")),
        "[DONE]",
    )
    (choice,) = body_of(CHAT, stream)["choices"]
    assert choice["message"]["tool_calls"] == [WEATHER, call_of("time", "{}", "call_2")]
    assert choice["message"]["content"] is None


def test_fields_that_are_not_known_survive() -> None:
    stream = sse(
        chunk(delta(role="assistant", mood="cal", content=""), system_fingerprint="fp", prompt_token_ids=[1]),
        chunk({**delta(content="a", mood="m"), "token_ids": [4], "logprobs": {"content": [{"token": "a"}]}}),
        chunk({**delta(content="b"), "token_ids": [5], "logprobs": {"content": [{"token": "b"}]}}),
        chunk({**delta("stop"), "stop_reason": 99}, prompt_token_ids=None),
        "[DONE]",
    )
    found = body_of(CHAT, stream)
    (choice,) = found["choices"]
    assert (found["system_fingerprint"], found["prompt_token_ids"]) == ("fp", [1])
    assert choice["message"] == {"role": "assistant", "content": "ab", "mood": "calm"}
    assert (choice["token_ids"], choice["stop_reason"]) == ([4, 5], 99)
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_usage_in_every_chunk_counts_once() -> None:
    stream = sse(
        chunk(delta(content="a"), usage={"prompt_tokens": 1, "completion_tokens": 1}, obfuscation="xyz"),
        chunk(delta("stop"), usage={"prompt_tokens": 1, "completion_tokens": 2}),
        chunk(usage=None),
        "[DONE]",
    )
    assert body_of(CHAT, stream)["usage"] == {"prompt_tokens": 1, "completion_tokens": 2}


def test_what_a_gateway_behind_this_one_added_is_not_stored() -> None:
    for endpoint, reply in ((CHAT, CHAT_REPLIES["text"]), (RESPONSES, response_reply()), (MESSAGES, message_reply())):
        stream = sse_reply(answer(endpoint, reply), True, {"cache": "exact"})
        assert b'"kvgate"' in stream
        assert body_of(endpoint, stream) == reply
        assert body_of(endpoint, orjson.dumps({**reply, "kvgate": {"cache": "miss"}}), stream=False) == reply


ENDED = chunk(delta("stop"))


@pytest.mark.parametrize(
    "events",
    [
        [],
        ["[DONE]"],
        [chunk(delta(content="a")), "[DONE]"],
        [chunk(delta("abort")), "[DONE]"],
        [chunk(delta("error")), "[DONE]"],
        [chunk(delta("content_filter")), "[DONE]"],
        [ENDED, {"error": {"message": "out of memory"}}, "[DONE]"],
        [ENDED, {"object": "error", "message": "gone"}, "[DONE]"],
        [ENDED, "[DONE]", ENDED],
        [ENDED, "not json", "[DONE]"],
        [ENDED, "[1]", "[DONE]"],
        [chunk(), "[DONE]"],
        [{"id": "x"}, "[DONE]"],
        [chunk({"delta": {"content": "a"}, "finish_reason": "stop"}), "[DONE]"],
        [chunk(delta("stop", index=1)), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[{"index": 0, **call_of("f", '{"a": ')}])), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[{"index": 0, **call_of("f", "")}])), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[{"index": 0, **call_of("", "{}")}])), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[{"index": 1, **call_of("f", "{}")}])), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[call_of("f", "{}")])), "[DONE]"],
        [chunk(delta("tool_calls", tool_calls=[{"index": 0, **WEATHER}] * 2)), "[DONE]"],
        [chunk(delta("function_call", function_call={"name": "f", "arguments": "{"})), "[DONE]"],
    ],
)
def test_a_chat_stream_that_is_not_whole_and_sound_is_not_kept(events: list[Json | str]) -> None:
    assert collect(CHAT, sse(*events)) is None


@pytest.mark.parametrize(
    ("endpoint", "reply"),
    [
        (CHAT, chat_reply({"content": None, "tool_calls": [call_of("f", "{'a': 1}")]})),
        (CHAT, {**CHAT_REPLIES["text"], "error": {"message": "x"}}),
        (CHAT, {**CHAT_REPLIES["text"], "choices": []}),
        (CHAT, {**CHAT_REPLIES["text"], "choices": None}),
        (CHAT, {**CHAT_REPLIES["text"], "choices": [{"index": 0, "finish_reason": "stop"}]}),
        (CHAT, {"object": "error", "message": "x"}),
        (RESPONSES, response_reply(status="failed", error={"code": "server_error"})),
        (RESPONSES, response_reply(status="in_progress")),
        (RESPONSES, response_reply(status="incomplete", incomplete_details={"reason": "content_filter"})),
        (RESPONSES, response_reply({"type": "function_call", "arguments": "{"})),
        (MESSAGES, message_reply(stop_reason=None)),
        (MESSAGES, message_reply(stop_reason="refusal")),
        (MESSAGES, message_reply({"type": "tool_use", "input": "{"})),
        (MESSAGES, message_reply(usage=None)),
        (MESSAGES, {"type": "error", "error": {"type": "overloaded_error"}}),
        (EMBEDDINGS, {"data": [{"embedding": []}]}),
    ],
)
def test_a_blocking_reply_that_is_not_whole_and_sound_is_not_kept(endpoint: Endpoint, reply: Json) -> None:
    assert collect(endpoint, orjson.dumps(reply), stream=False) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>", b"\x1f\x8b\x08\x00"])
def test_what_is_no_json_object_is_not_kept(body: bytes) -> None:
    assert collect(CHAT, body, stream=False) is None


def test_errors_in_the_streams_of_the_other_dialects_are_not_kept() -> None:
    responses, messages = engine_stream(RESPONSES, "a"), engine_stream(MESSAGES, "a")
    failed = sse({"type": "response.failed", "response": response_reply(status="failed")})
    overloaded = sse({"type": "error", "error": {"type": "overloaded_error"}})
    assert collect(RESPONSES, failed) is None
    assert collect(RESPONSES, overloaded + responses) is None
    assert collect(MESSAGES, messages.replace(b"event: message_delta", overloaded + b"event: message_delta")) is None


def test_arguments_of_a_tool_that_were_cut_off_are_not_kept() -> None:
    reply = message_reply({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, stop_reason="max_tokens")
    stream = sse_reply(answer(MESSAGES, reply), True, {})
    assert body_of(MESSAGES, stream) == reply
    assert collect(MESSAGES, stream.replace(rb"{\"a\":1}", rb"{\"a\":")) is None


def test_a_response_whose_last_event_lacks_what_was_streamed_is_not_kept() -> None:
    stream = engine_stream(RESPONSES, "a")
    item = sse({"type": "response.output_item.done", "output_index": 1, "item": {}})
    assert collect(RESPONSES, stream) is not None
    assert collect(RESPONSES, item + stream) is None


@pytest.mark.parametrize("stream", [True, False])
def test_a_large_reply_is_given_up_and_let_go_of(stream: bool) -> None:
    collector = Collector(CHAT, stream, max_answer_bytes=4000)
    pieces = [sse(chunk(delta(content="x" * 100)))] * 100 if stream else [b"x" * 100] * 100
    fed = 0
    while not collector.given_up and fed < len(pieces):
        collector.feed(pieces[fed])
        fed += 1
    assert collector.given_up == "too large" and fed < 60
    collector.feed(sse(chunk(delta("stop")), "[DONE]"))
    assert collector.finish() is None


def test_an_event_without_end_is_given_up() -> None:
    collector = Collector(CHAT, True, max_answer_bytes=4000)
    for _ in range(41):
        collector.feed(b"data: " + b"x" * 100)
    assert collector.given_up == "too large"


def test_what_is_given_up_says_why_without_a_word_of_the_reply() -> None:
    collector = Collector(CHAT, True)
    collector.feed(sse(chunk(delta(content="my secret")), '{"secret"'))
    assert collector.given_up == "an event is not JSON"


strange = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "x", "{}", "error", "text_delta"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "index", "text"]), inner),
    max_leaves=4,
)


def with_one_thing_else(data: st.DataObject, value: Any) -> Any:
    """The value with something in it replaced by something strange, or missing."""
    if not isinstance(value, (dict, list)) or not value or data.draw(st.integers(0, 4)) == 0:
        return data.draw(strange)
    if isinstance(value, list):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], with_one_thing_else(data, value[place]), *value[place + 1 :]]
    name = data.draw(st.sampled_from(sorted(value)))
    if data.draw(st.booleans()):
        return {key: item for key, item in value.items() if key != name}
    return {**value, name: with_one_thing_else(data, value[name])}


@pytest.mark.parametrize(("endpoint", "name", "reply"), REPLIES, ids=lambda value: value if type(value) is str else "")
@given(data=st.data())
def test_a_strange_reply_never_breaks_the_collector_and_what_is_kept_can_be_given_again(
    endpoint: Endpoint, name: str, reply: Json, data: st.DataObject
) -> None:
    stream = data.draw(st.booleans())
    if stream:
        events = [
            orjson.loads(e) if e != b"[DONE]" else e.decode()
            for e in EventReader().feed(sse_reply(answer(endpoint, reply), True, {}))
        ]
        place = data.draw(st.integers(0, len(events) - 1))
        body = sse(*events[:place], with_one_thing_else(data, events[place]), *events[place + 1 :])
    else:
        body = orjson.dumps(with_one_thing_else(data, reply))
    collected = collect(endpoint, body, stream=stream, choices=choices_in(reply))
    if collected is not None:
        assert sse_reply(collected, True, {"cache": "exact"})
        assert orjson.loads(json_reply(collected, {"cache": "exact"}))["kvgate"] == {"cache": "exact"}

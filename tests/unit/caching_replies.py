"""Requests, and replies as engines give them, for the tests of the response caches."""

from __future__ import annotations

from typing import Any

import orjson

from extproc.api.body import parse
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.caching.answer import Answer, read_usage
from extproc.caching.collect import Collector
from extproc.sim.dialects import DIALECTS
from extproc.sim.reply import Call, Choice, Usage

Json = dict[str, Any]

CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES = (
    Endpoint.CHAT_COMPLETIONS,
    Endpoint.COMPLETIONS,
    Endpoint.RESPONSES,
    Endpoint.EMBEDDINGS,
    Endpoint.MESSAGES,
)
MINIMAL: dict[Endpoint, Json] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"prompt": "hi"},
    RESPONSES: {"input": "hi"},
    EMBEDDINGS: {"input": "hi"},
    MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
}


def ask(endpoint: Endpoint = CHAT, **fields: Any) -> InferenceRequest:
    """A parsed request: the smallest of its endpoint, with these fields."""
    return parse(endpoint, orjson.dumps({"model": "m", **MINIMAL[endpoint], **fields}))


def look(part: Json, **fields: Any) -> InferenceRequest:
    """A chat with one content part."""
    return ask(messages=[{"role": "user", "content": [part]}], **fields)


def answer(endpoint: Endpoint, reply: Json, created_s: float = 1000.0) -> Answer:
    return Answer(endpoint, orjson.dumps(reply), created_s, read_usage(reply))


def collect(endpoint: Endpoint, *chunks: bytes, stream: bool = True, choices: int = 1, **bounds: int) -> Answer | None:
    collector = Collector(endpoint, stream, choices=choices, **bounds)
    for chunk in chunks:
        collector.feed(chunk)
    return collector.finish(1000.0)


def sse(*events: Any) -> bytes:
    """A stream as OpenAI's dialects write it."""
    return b"".join(b"data: " + (e.encode() if isinstance(e, str) else orjson.dumps(e)) + b"\n\n" for e in events)


def engine_stream(endpoint: Endpoint, *texts: str, include_usage: bool = True) -> bytes:
    """What the simulated replica streams, one choice for each text, a piece for each word."""
    dialect, call, usage = _call(endpoint, include_usage)
    writer = dialect.stream(call, len(texts))
    assert writer is not None
    choices = [Choice(text.split(" "), "stop") for text in texts]
    stream = writer.preamble() + writer.opening(usage)
    for index, choice in enumerate(choices):
        stream += b"".join(writer.piece(index, piece) for piece in choice.pieces) + writer.ending(index, choice)
    return bytes(stream + writer.closing(usage))


def engine_json(endpoint: Endpoint, *texts: str) -> bytes:
    """What the simulated replica answers a blocking request."""
    dialect, call, usage = _call(endpoint, False)
    return orjson.dumps(dialect.whole(call, [Choice(text.split(" "), "stop") for text in texts], [], usage))


def _call(endpoint: Endpoint, include_usage: bool) -> tuple[Any, Call, Usage]:
    dialect = DIALECTS[endpoint.value]
    body = {"stream_options": {"include_usage": include_usage}}
    return dialect, Call(dialect.id_prefix + "1", "m", 7, body), Usage(11, 4, 0, 3)


USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}}
_LOGPROB = {"token": "Ja", "logprob": -0.25, "bytes": [74, 97], "top_logprobs": [{"token": "Ja", "logprob": -0.25}]}


def chat_reply(*messages: Json, **fields: Any) -> Json:
    reasons = ("tool_calls" if m.get("tool_calls") else "stop" for m in messages)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {"index": i, "message": {"role": "assistant", **m}, "finish_reason": reason, "stop_reason": None}
            for i, (m, reason) in enumerate(zip(messages, reasons, strict=True))
        ],
        "usage": USAGE,
        **fields,
    }


def call_of(name: str, arguments: str, call_id: str = "call_1") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = call_of("weather", '{"city": "Köln", "days": 3}')
LONG = "Der Kölner Dom ist \U0001f3f0 157 Meter hoch.\n" * 9

CHAT_REPLIES: dict[str, Json] = {
    "text": chat_reply({"content": LONG, "refusal": None, "tool_calls": []}),
    "empty": chat_reply({"content": ""}),
    "two choices": chat_reply({"content": "one"}, {"content": LONG}),
    "tool calls": chat_reply({"content": None, "tool_calls": [WEATHER, call_of("time", "{}", "call_2")]}),
    "text and a call": chat_reply({"content": "Let me look.", "tool_calls": [WEATHER]}),
    "function call": chat_reply({"content": None, "function_call": {"name": "weather", "arguments": "{}"}}),
    "custom tool": chat_reply(
        {"content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]}
    ),
    "refusal": chat_reply({"content": None, "refusal": "I cannot help with that. " * 5}),
    "reasoning": chat_reply({"reasoning": LONG, "reasoning_content": LONG, "content": "42"}),
    "extras": chat_reply(
        {"content": "hi", "annotations": [{"type": "url_citation"}]},
        system_fingerprint="fp",
        service_tier=None,
        prompt_token_ids=[1, 2],
        kv_transfer_params=None,
    ),
}
CHAT_REPLIES["log probabilities"] = chat_reply({"content": "Ja" * 40})
CHAT_REPLIES["log probabilities"]["choices"][0]["logprobs"] = {"content": [_LOGPROB] * 40, "refusal": None}

_TEXT_CHOICE = {"index": 0, "text": LONG, "logprobs": None, "finish_reason": "length", "stop_reason": None}
_TEXT_LOGPROBS = {
    "tokens": ["J", "a"],
    "token_logprobs": [-0.5, -1.5],
    "text_offset": [0, 1],
    "top_logprobs": [None, None],
}
TEXT_REPLIES: dict[str, Json] = {
    name: {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "choices": choices, "usage": USAGE}
    for name, choices in {
        "text": [_TEXT_CHOICE],
        "batch": [_TEXT_CHOICE, {**_TEXT_CHOICE, "index": 1, "text": ""}],
        "log probabilities": [{**_TEXT_CHOICE, "text": "Ja", "logprobs": _TEXT_LOGPROBS, "token_ids": [5, 6]}],
    }.items()
}

_OUTPUT_TEXT = {"type": "output_text", "text": LONG, "annotations": [], "logprobs": None}
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [_OUTPUT_TEXT]}
_THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "It thought."}],
    "content": [{"type": "reasoning_text", "text": LONG}],
    "status": "completed",
}
_FUNCTION_CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city": "Köln", "note": "' + "x" * 99 + '"}',
    "status": "completed",
}
_CUSTOM_CALL = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "SELECT 1"}
_REFUSAL = {**_MESSAGE, "content": [{"type": "refusal", "refusal": "No. " * 30}]}


def response_reply(*output: Json, **fields: Any) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "status": "completed",
        "model": "m",
        "output": list(output),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 0.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 14,
        },
        **fields,
    }


RESPONSE_REPLIES: dict[str, Json] = {
    "text": response_reply(_MESSAGE),
    "thought and calls": response_reply(_THOUGHT, _FUNCTION_CALL, _CUSTOM_CALL),
    "refusal": response_reply(_REFUSAL),
    "cut off": response_reply(_MESSAGE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
}


def message_reply(*content: Json, **fields: Any) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 3, "cache_read_input_tokens": 4},
        **fields,
    }


_TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln", "days": [1, 2]}}
_CITED = {"type": "text", "text": LONG, "citations": [{"type": "char_location", "cited_text": "Dom"}] * 2}
MESSAGE_REPLIES: dict[str, Json] = {
    "text": message_reply({"type": "text", "text": LONG}),
    "thought and tool": message_reply(
        {"type": "thinking", "thinking": LONG, "signature": "c2ln" * 30},
        {"type": "text", "text": "Let me look.", "citations": None},
        _TOOL_USE,
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
        stop_reason="tool_use",
    ),
    "citations": message_reply(_CITED, stop_reason="stop_sequence", stop_sequence="###"),
}

REPLIES: list[tuple[Endpoint, str, Json]] = [
    *((CHAT, name, reply) for name, reply in CHAT_REPLIES.items()),
    *((COMPLETIONS, name, reply) for name, reply in TEXT_REPLIES.items()),
    *((RESPONSES, name, reply) for name, reply in RESPONSE_REPLIES.items()),
    *((MESSAGES, name, reply) for name, reply in MESSAGE_REPLIES.items()),
]
"""One of each kind that a stream can tell."""


def choices_in(reply: Json) -> int:
    return len(reply["choices"]) if "choices" in reply else 1

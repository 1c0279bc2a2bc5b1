"""/v1/chat/completions: replies, and the chunks of which one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .choices import ChoicesFold, check_choices, take_rest, unfold_choices
from .reply import Json, Unfit, expect, expect_json, grow, merge, pieces

_STREAMED = ("reasoning", "reasoning_content", "content", "refusal")
"""The texts of a message, in the order in which engines stream them."""


class Chat:
    def fold(self) -> ChoicesFold:
        return ChoicesFold("chat.completion", _take)

    def check(self, reply: Json, choices: int) -> None:
        for choice in check_choices(reply, choices):
            message = choice.get("message")
            expect(type(message) is dict, "a choice has no message")
            for call in (message or {}).get("tool_calls") or []:
                _check_call(call)
            call = (message or {}).get("function_call")
            if call is not None:
                _check_function(call)

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        return unfold_choices(reply, "chat.completion.chunk", include_usage, about, _parts)


def _check_call(call: Any) -> None:
    expect(type(call) is dict, "a tool call is no object")
    if call.get("type", "function") == "function":
        _check_function(call.get("function"))


def _check_function(function: Any) -> None:
    expect(type(function) is dict and bool(function.get("name")), "a tool call has no function")
    expect_json(function.get("arguments"))


def _take(held: Json, choice: Json) -> None:
    delta = choice.get("delta")
    message = held.setdefault("message", {"role": "assistant", "content": None})
    if type(delta) is dict:
        for name, value in delta.items():
            if name == "tool_calls":
                _take_calls(message, value)
            elif name == "function_call" and type(value) is dict:
                _take_function(message, name, value)
            elif name == "role":
                message[name] = value or message[name]
            else:
                merge(message, name, value, strings_grow=True)
    take_rest(held, choice, "delta")


def _take_calls(message: Json, deltas: Any) -> None:
    if deltas is None:
        message.setdefault("tool_calls", None)
        return
    expect(type(deltas) is list, "tool calls are no list")
    calls = message.get("tool_calls") or []
    message["tool_calls"] = calls
    for delta in deltas:
        index = delta.get("index") if type(delta) is dict else None
        if type(index) is not int or not 0 <= index <= len(calls):
            raise Unfit("a tool call is out of order")
        if index == len(calls):
            calls.append({})
        for name, value in delta.items():
            if type(value) is dict:
                _take_function(calls[index], name, value)
            elif name != "index" and value is not None:
                calls[index][name] = value


def _take_function(call: Json, name: str, delta: Json) -> None:
    """Arguments (a custom tool's `input`) come in pieces; a name comes once, or the stream cannot be understood."""
    function = call.get(name) or {}
    call[name] = function
    for key, value in delta.items():
        if key == "name" and value:
            expect("name" not in function, "a tool call is named twice")
            function["name"] = value
        elif type(value) is str and key != "name":
            grow(function, key, value)
        elif value:
            function[key] = value


def _parts(choice: Json) -> Iterator[Json]:
    message, index, logprobs = choice["message"], choice["index"], choice.get("logprobs")
    texts = {name: message[name] for name in _STREAMED if isinstance(message.get(name), str)}
    calls = message.get("tool_calls") or []
    opening = {name: value for name, value in message.items() if name != "tool_calls" or not calls}
    null_logprobs = {"logprobs": None} if "logprobs" in choice else {}

    def part(delta: Json) -> Json:
        return {"index": index, "delta": delta, **null_logprobs, "finish_reason": None}

    yield part({"role": "assistant", **opening, **dict.fromkeys(texts, "")})
    for name, text in texts.items():
        whole = bool(logprobs) and name == "content" and bool(text)
        for piece in [text] if whole else pieces(text):
            # All at once where there are log probabilities, so that each chunk has those of its own tokens.
            yield part({name: piece}) | ({"logprobs": logprobs} if whole else {})
        logprobs = None if whole else logprobs
    for number, call in enumerate(calls):
        yield part({"tool_calls": [{**call, "index": number}]})
    rest = {name: value for name, value in choice.items() if name not in ("index", "message", "logprobs")}
    yield part({}) | ({"logprobs": logprobs} if logprobs else {}) | rest

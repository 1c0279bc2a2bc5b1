"""POST /v1/responses: OpenAI's Responses API.

Its `input` is a string or a list of items: messages, calls, results of calls, reasoning. What the engine keeps itself
(`previous_response_id`, `conversation`) is not seen here.
"""

from __future__ import annotations

from typing import Any

from .fields import compact, count, filled_list, flag, text, tools, wrong_type
from .openai_parts import OPENAI_PARTS
from .parts import read_content
from .requests import Endpoint, InferenceRequest, Message, Text

_RESULTS = ("function_call_output", "custom_tool_call_output")


def read(fields: dict[str, Any], model: str) -> InferenceRequest:
    """A Responses body; `instructions` is the system message. A stream of this API always ends with its usage."""
    stream = flag(fields, "stream")
    return InferenceRequest(
        endpoint=Endpoint.RESPONSES,
        model=model,
        messages=_read_instructions(fields.get("instructions")) + _read_input(fields),
        fields=fields,
        tools=tools(fields),
        stream=stream,
        stream_usage=stream,
        max_tokens=count(fields, "max_output_tokens", 0),
        user=text(fields, "user"),
        cache_salt=text(fields, "cache_salt"),
    )


def _read_instructions(value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    if type(value) is not str:
        raise wrong_type("instructions", "a string", value)
    return (Message("system", (Text(value),)),)


def _read_input(fields: dict[str, Any]) -> tuple[Message, ...]:
    value = fields.get("input")
    if type(value) is str:
        return (Message("user", (Text(value),)),)
    if type(value) is not list:
        raise wrong_type("input", "a string or a list of items", value)
    return tuple([_read_item(item, f"input[{index}]") for index, item in enumerate(filled_list(fields, "input"))])


def _read_item(item: Any, param: str) -> Message:
    if type(item) is str:
        return Message("user", (Text(item),))
    if type(item) is not dict:
        raise wrong_type(param, "an object", item)
    kind = item.get("type")
    if kind is None or kind == "message":
        role = item.get("role")
        if type(role) is not str:
            raise wrong_type(f"{param}.role", "a string", role)
        return Message(role, read_content(item.get("content"), f"{param}.content", OPENAI_PARTS))
    if type(kind) is not str:
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind in _RESULTS:
        call = {key: value for key, value in item.items() if key != "output"}
        output = read_content(item.get("output"), f"{param}.output", OPENAI_PARTS)
        return Message("tool", (Text(compact(call)), *output))
    return Message("assistant", (Text(compact(item)),))

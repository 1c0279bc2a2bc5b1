"""POST /v1/chat/completions, as OpenAI and vLLM define it."""

from __future__ import annotations

from typing import Any

from .fields import answers, compact, count, filled_list, flag, text, tools, usage_chunk, wrong_type
from .openai_parts import OPENAI_PARTS
from .parts import read_content
from .requests import Endpoint, InferenceRequest, Message, Text


def read(fields: dict[str, Any], model: str) -> InferenceRequest:
    """A chat body; `max_completion_tokens` goes before the older `max_tokens`, `tools` before `functions`."""
    max_tokens = count(fields, "max_completion_tokens", 0)
    if max_tokens is None:
        max_tokens = count(fields, "max_tokens", 0)
    return InferenceRequest(
        endpoint=Endpoint.CHAT_COMPLETIONS,
        model=model,
        messages=read_messages(fields),
        fields=fields,
        tools=tools(fields) or tools(fields, "functions"),
        stream=flag(fields, "stream"),
        stream_usage=usage_chunk(fields),
        max_tokens=max_tokens,
        n=answers(fields),
        user=text(fields, "user"),
        cache_salt=text(fields, "cache_salt"),
    )


def read_messages(fields: dict[str, Any]) -> tuple[Message, ...]:
    """The `messages` of a chat, in order."""
    return tuple([_read_message(item, index) for index, item in enumerate(filled_list(fields, "messages"))])


def _read_message(item: Any, index: int) -> Message:
    if type(item) is not dict:
        raise wrong_type(f"messages[{index}]", "an object", item)
    role = item.get("role")
    if type(role) is not str:
        raise wrong_type(f"messages[{index}].role", "a string", role)
    parts = read_content(item.get("content"), f"messages[{index}].content", OPENAI_PARTS)
    if role == "assistant":
        # The order in which chat templates write them: thoughts, words, calls.
        thought = text(item, "reasoning") or text(item, "reasoning_content")
        if thought:
            parts = (Text(thought), *parts)
        calls = item.get("tool_calls") or item.get("function_call")
        if calls:
            parts = (*parts, Text(compact(calls)))
    return Message(role, parts)

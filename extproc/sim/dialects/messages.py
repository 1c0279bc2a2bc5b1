"""/v1/messages, Anthropic's dialect as vLLM serves it: `input_tokens` is the whole prompt, cached tokens included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extproc.sim.content import read_content
from extproc.sim.errors import malformed
from extproc.sim.media import MediaReader
from extproc.sim.reply import Body, Call, Choice, Usage, objects, sse, whole_number
from extproc.sim.template import Prompt, Turn, render

_STOP_REASON = {"stop": "end_turn", "length": "max_tokens"}


class Messages:
    path = "/v1/messages"
    id_prefix = "msg_"

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        messages = objects(body, "messages")
        if not messages:
            raise malformed("messages must hold at least one message")
        turns = [_turn(message, reader) for message in messages]
        system = read_content(body.get("system"), reader)
        if system:
            turns.insert(0, Turn("system", system))
        return [render(turns, objects(body, "tools"))]

    def max_tokens(self, body: Body) -> int | None:
        return whole_number(body, "max_tokens")

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        return _message(
            call, [{"type": "text", "text": choices[0].text}], _STOP_REASON[choices[0].finish_reason], _usage(usage)
        )

    def stream(self, call: Call, choices: int) -> _Events:
        return _Events(call)


class _Events:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._stop_reason = "end_turn"

    def preamble(self) -> bytes:
        return b""

    def opening(self, usage: Usage) -> bytes:
        message = _message(self._call, [], None, _usage(usage) | {"output_tokens": 0})
        block = {"type": "text", "text": ""}
        return _event("message_start", message=message) + _event("content_block_start", index=0, content_block=block)

    def piece(self, choice: int, text: str) -> bytes:
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def ending(self, choice: int, answer: Choice) -> bytes:
        self._stop_reason = _STOP_REASON[answer.finish_reason]
        return _event("content_block_stop", index=0)

    def closing(self, usage: Usage) -> bytes:
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        return _event("message_delta", delta=delta, usage=_usage(usage)) + _event("message_stop")


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, event=kind)


def _message(
    call: Call, content: list[dict[str, str]], stop_reason: str | None, usage: dict[str, int]
) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": call.model,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def _turn(message: Mapping[str, Any], reader: MediaReader) -> Turn:
    role = message.get("role")
    if not isinstance(role, str):
        raise malformed("each message needs a role")
    return Turn(role, read_content(message.get("content"), reader))

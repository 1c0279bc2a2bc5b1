"""/v1/chat/completions, as OpenAI and vLLM shape it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extproc.sim.content import read_content
from extproc.sim.errors import malformed
from extproc.sim.media import MediaReader
from extproc.sim.reply import Body, Call, Choice, Usage, objects, sse, whole_number
from extproc.sim.template import Part, Prompt, Turn, call_text, render


class Chat:
    path = "/v1/chat/completions"
    id_prefix = "chatcmpl-"

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        messages = objects(body, "messages")
        if not messages:
            raise malformed("messages must hold at least one message")
        turns = [_turn(message, reader) for message in messages]
        return [render(turns, objects(body, "tools"), open_reply=body.get("add_generation_prompt", True) is not False)]

    def max_tokens(self, body: Body) -> int | None:
        return whole_number(body, "max_completion_tokens", "max_tokens")

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        return {
            "id": call.id,
            "object": "chat.completion",
            "created": call.created_s,
            "model": call.model,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": choice.text, "refusal": None, "tool_calls": []},
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                    "stop_reason": None,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": usage.openai(),
        }

    def stream(self, call: Call, choices: int) -> _Chunks:
        return _Chunks(call, choices)


class _Chunks:
    def __init__(self, call: Call, choices: int) -> None:
        self._call = call
        self._choices = choices
        options = call.body.get("stream_options")
        self._include_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))

    def preamble(self) -> bytes:
        return b""

    def opening(self, usage: Usage) -> bytes:
        delta = {"role": "assistant", "content": ""}
        return b"".join(self._chunk(choice, delta, None) for choice in range(self._choices))

    def piece(self, choice: int, text: str) -> bytes:
        return self._chunk(choice, {"content": text}, None)

    def ending(self, choice: int, answer: Choice) -> bytes:
        return self._chunk(choice, {}, answer.finish_reason)

    def closing(self, usage: Usage) -> bytes:
        last = sse(self._event([]) | {"usage": usage.openai()}) if self._include_usage else b""
        return last + b"data: [DONE]\n\n"

    def _chunk(self, choice: int, delta: dict[str, str], finish_reason: str | None) -> bytes:
        return sse(self._event([{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]))

    def _event(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        call = self._call
        return {
            "id": call.id,
            "object": "chat.completion.chunk",
            "created": call.created_s,
            "model": call.model,
            "choices": choices,
        }


def _turn(message: Mapping[str, Any], reader: MediaReader) -> Turn:
    role = message.get("role")
    if not isinstance(role, str):
        raise malformed("each message needs a role")
    parts: list[Part] = list(read_content(message.get("content"), reader))
    for call in objects(message, "tool_calls"):
        function = call.get("function")
        if not isinstance(function, Mapping):
            raise malformed("a tool call needs a function")
        parts.append(call_text(function.get("name"), function.get("arguments")))
    return Turn("system" if role == "developer" else role, tuple(parts))

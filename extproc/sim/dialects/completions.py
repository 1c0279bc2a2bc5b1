"""/v1/completions: a bare prompt, which no template wraps; or several, or token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extproc.sim.errors import malformed
from extproc.sim.media import MediaReader
from extproc.sim.reply import Body, Call, Choice, Usage, sse, whole_number
from extproc.sim.template import Prompt
from extproc.sim.tokens import tokenize

_MAX_TOKEN_ID = 0xFFFF_FFFF


class Completions:
    path = "/v1/completions"
    id_prefix = "cmpl-"

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        return bare_prompts(body.get("prompt"), "prompt")

    def max_tokens(self, body: Body) -> int | None:
        return whole_number(body, "max_tokens")

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        return _reply(
            call,
            [
                _choice(index, choice.text, choice.finish_reason) | {"prompt_logprobs": None}
                for index, choice in enumerate(choices)
            ],
        ) | {"usage": usage.openai()}

    def stream(self, call: Call, choices: int) -> _Chunks:
        return _Chunks(call)


class _Chunks:
    def __init__(self, call: Call) -> None:
        self._call = call
        options = call.body.get("stream_options")
        self._include_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))

    def preamble(self) -> bytes:
        return b""

    def opening(self, usage: Usage) -> bytes:
        return b""

    def piece(self, choice: int, text: str) -> bytes:
        return sse(_reply(self._call, [_choice(choice, text, None)]))

    def ending(self, choice: int, answer: Choice) -> bytes:
        return sse(_reply(self._call, [_choice(choice, "", answer.finish_reason)]))

    def closing(self, usage: Usage) -> bytes:
        last = sse(_reply(self._call, []) | {"usage": usage.openai()}) if self._include_usage else b""
        return last + b"data: [DONE]\n\n"


def bare_prompts(value: Any, field: str) -> list[Prompt]:
    """A string, a list of token ids, or a list of either.

    Raises:
        Refused: it is something else, or empty (400).
    """
    if isinstance(value, str) or _is_token_ids(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise malformed(f"{field} must be a string, a list of token ids, or a list of those")
    prompts: list[Prompt] = []
    for item in value:
        if isinstance(item, str) and item:
            prompts.append(Prompt(tokenize(item)))
        elif _is_token_ids(item):
            prompts.append(Prompt(list(item)))
        else:
            raise malformed(f"{field} holds something that is neither text nor token ids, or nothing")
    return prompts


def _is_token_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(i) is int and 0 <= i <= _MAX_TOKEN_ID for i in value)


def _choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason, "stop_reason": None}


def _reply(call: Call, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": "text_completion",
        "created": call.created_s,
        "model": call.model,
        "choices": choices,
    }

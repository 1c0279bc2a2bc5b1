"""/v1/responses, without stored state: the client sends the whole conversation as `input`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extproc.sim.content import read_content
from extproc.sim.errors import Refused, malformed
from extproc.sim.media import MediaReader
from extproc.sim.reply import Body, Call, Choice, FinishReason, Usage, objects, sse, whole_number
from extproc.sim.template import Prompt, Turn, call_text, render


class Responses:
    path = "/v1/responses"
    id_prefix = "resp_"

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        earlier = body.get("previous_response_id")
        if earlier:
            raise Refused(404, "invalid_request_error", f"Response with id '{earlier}' not found.", "response_id")
        given = body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else objects(body, "input")
        if not items:
            raise malformed("input must be a string or a list of items")
        turns = [_turn(item, reader) for item in items]
        instructions = body.get("instructions")
        if isinstance(instructions, str) and instructions:
            turns.insert(0, Turn("system", (instructions,)))
        return [render(turns, objects(body, "tools"))]

    def max_tokens(self, body: Body) -> int | None:
        return whole_number(body, "max_output_tokens")

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        return _response(call, [_item(call, "completed", [_text(choices[0].text)])], choices[0].finish_reason, usage)

    def stream(self, call: Call, choices: int) -> _Events:
        return _Events(call)


class _Events:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._sequence = 0
        self._answer = Choice((), "stop")

    def preamble(self) -> bytes:
        response = _response(self._call, [], None, None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def opening(self, usage: Usage) -> bytes:
        item = _item(self._call, "in_progress", [])
        return self._event("response.output_item.added", output_index=0, item=item) + self._event(
            "response.content_part.added", **self._place(), part=_text("")
        )

    def piece(self, choice: int, text: str) -> bytes:
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def ending(self, choice: int, answer: Choice) -> bytes:
        self._answer = answer
        item = _item(self._call, "completed", [_text(answer.text)])
        return (
            self._event("response.output_text.done", **self._place(), text=answer.text, logprobs=[])
            + self._event("response.content_part.done", **self._place(), part=_text(answer.text))
            + self._event("response.output_item.done", output_index=0, item=item)
        )

    def closing(self, usage: Usage) -> bytes:
        output = [_item(self._call, "completed", [_text(self._answer.text)])]
        response = _response(self._call, output, self._answer.finish_reason, usage)
        return self._event("response.completed", response=response)

    def _place(self) -> dict[str, Any]:
        return {"item_id": _item_id(self._call), "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = sse({"type": kind, "sequence_number": self._sequence, **fields}, event=kind)
        self._sequence += 1
        return event


def _turn(item: Mapping[str, Any], reader: MediaReader) -> Turn:
    match item.get("type", "message"):
        case "message":
            role = item.get("role")
            if not isinstance(role, str):
                raise malformed("each message needs a role")
            return Turn("system" if role == "developer" else role, read_content(item.get("content"), reader))
        case "function_call":
            return Turn("assistant", (call_text(item.get("name"), item.get("arguments")),))
        case "function_call_output":
            return Turn("tool", read_content(item.get("output"), reader))
        case "reasoning":
            return Turn("assistant", read_content(item.get("content"), reader))
        case unknown:
            raise malformed(f"unknown input item: {unknown!r}")


def _item_id(call: Call) -> str:
    return call.id.replace("resp_", "msg_", 1)


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _item(call: Call, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": _item_id(call), "type": "message", "role": "assistant", "status": status, "content": content}


def _response(
    call: Call, output: list[dict[str, Any]], finish_reason: FinishReason | None, usage: Usage | None
) -> dict[str, Any]:
    body = call.body
    status = "in_progress" if finish_reason is None else "incomplete" if finish_reason == "length" else "completed"
    return {
        "id": call.id,
        "object": "response",
        "created_at": call.created_s,
        "status": status,
        "model": call.model,
        "output": output,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata"),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": usage and _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }

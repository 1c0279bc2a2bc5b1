"""/v1/responses: replies, and the events that tell of one in the making. The last event holds the whole reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.caching.sse import DONE, event

from .reply import ABOUT, Json, expect, expect_json, pieces, read_event

_LAST = ("response.completed", "response.incomplete")
_FAILED = ("response.failed", "response.cancelled", "error")
_TEXTS = {"output_text": "output_text", "refusal": "refusal", "reasoning_text": "reasoning_text"}
"""Content parts that are streamed, and the stem of their events' names; `output_text` is held under `text`."""


class ResponsesFold:
    """Waits for the event that holds everything; of the others only failures and the number of items matter."""

    def __init__(self) -> None:
        self._reply: Json | None = None
        self._items = 0
        self.held_bytes = 0

    def take(self, data: bytes) -> None:
        if data == DONE:
            return
        fields = read_event(data)
        kind = fields.get("type")
        expect(kind not in _FAILED, "the engine reported an error")
        expect(self._reply is None, "something follows the end")
        if kind == "response.output_item.done":
            self._items += 1
        if kind in _LAST:
            reply = fields.get("response")
            expect(type(reply) is dict, "the last event holds no reply")
            self._reply = reply
            self.held_bytes = len(data)

    def reply(self) -> Json:
        reply = self._reply or {}
        expect(bool(reply), "the stream was cut off")
        output = reply.get("output")
        expect(type(output) is list and len(output) >= self._items, "the last event does not hold what was streamed")
        return {name: value for name, value in reply.items() if name != ABOUT}


class Responses:
    def fold(self) -> ResponsesFold:
        return ResponsesFold()

    def check(self, reply: Json, choices: int) -> None:
        expect(reply.get("error") is None, "the engine reported an error")
        details = reply.get("incomplete_details")
        cut = type(details) is dict and details.get("reason") == "max_output_tokens"
        status = reply.get("status")
        expect(status == "completed" or (status == "incomplete" and cut), "the response did not come to its end")
        output = reply.get("output")
        expect(type(output) is list and all(type(item) is dict for item in output), "there is no output")
        for item in output or []:
            if item.get("type") == "function_call":
                expect_json(item.get("arguments"))

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        """A stream of this API always tells the usage; `about` is in the reply that the last event holds."""
        started = reply | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        numbered = _Numbered()
        yield numbered.event("response.created", response=started)
        yield numbered.event("response.in_progress", response=started)
        for index, item in enumerate(reply["output"]):
            yield from _item(numbered, index, item)
        whole = {**reply, ABOUT: dict(about)} if about else reply
        yield numbered.event(f"response.{reply['status']}", response=whole)


class _Numbered:
    """Events with running numbers."""

    def __init__(self) -> None:
        self._next = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        written = event({"type": kind, "sequence_number": self._next, **fields}, name=kind)
        self._next += 1
        return written


def _item(numbered: _Numbered, index: int, item: Json) -> Iterator[bytes]:
    grown = _FIELDS_THAT_GROW.get(item.get("type", ""), ())
    bare = {name: _empty(value) if name in grown else value for name, value in item.items()}
    if "status" in bare:
        bare["status"] = "in_progress"
    yield numbered.event("response.output_item.added", output_index=index, item=bare)
    place = {"item_id": item.get("id"), "output_index": index}
    for number, part in enumerate(item.get("summary") or [] if "summary" in grown else []):
        yield from _summary(numbered, {**place, "summary_index": number}, part)
    for number, part in enumerate(item.get("content") or [] if "content" in grown else []):
        yield from _part(numbered, {**place, "content_index": number}, part)
    for name, stem in (("arguments", "function_call_arguments"), ("input", "custom_tool_call_input")):
        if name in grown and isinstance(item.get(name), str):
            for piece in pieces(item[name]):
                yield numbered.event(f"response.{stem}.delta", **place, delta=piece)
            named = {"name": item["name"]} if name == "arguments" and "name" in item else {}
            yield numbered.event(f"response.{stem}.done", **place, **{name: item[name]}, **named)
    yield numbered.event("response.output_item.done", output_index=index, item=item)


_FIELDS_THAT_GROW: dict[str, tuple[str, ...]] = {
    "message": ("content",),
    "reasoning": ("content", "summary"),
    "function_call": ("arguments",),
    "custom_tool_call": ("input",),
}


def _empty(value: Any) -> Any:
    return type(value)() if isinstance(value, (str, list)) else value


def _part(numbered: _Numbered, place: Json, part: Json) -> Iterator[bytes]:
    kind = part.get("type", "")
    field = "refusal" if kind == "refusal" else "text"
    text = part.get(field)
    stem = _TEXTS.get(kind) if isinstance(text, str) else None
    # The SDKs build the reply by appending, so that the part begins empty.
    yield numbered.event("response.content_part.added", **place, part={**part, field: ""} if stem else part)
    if stem:
        logprobs = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
        for piece in [str(text)] if logprobs.get("logprobs") and text else pieces(str(text)):
            yield numbered.event(f"response.{stem}.delta", **place, delta=piece, **logprobs)
        yield numbered.event(f"response.{stem}.done", **place, **{field: text}, **logprobs)
    yield numbered.event("response.content_part.done", **place, part=part)


def _summary(numbered: _Numbered, place: Json, part: Json) -> Iterator[bytes]:
    text = part.get("text") or ""
    yield numbered.event("response.reasoning_summary_part.added", **place, part={**part, "text": ""})
    for piece in pieces(text):
        yield numbered.event("response.reasoning_summary_text.delta", **place, delta=piece)
    yield numbered.event("response.reasoning_summary_text.done", **place, text=text)
    yield numbered.event("response.reasoning_summary_part.done", **place, part=part)

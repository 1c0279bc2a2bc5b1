"""/v1/messages, Anthropic's dialect: replies, and the events of which one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from extproc.caching.sse import DONE, event

from .reply import ABOUT, Json, Unfit, expect, expect_json, grow, pieces, read_event, settle

_WHOLE = frozenset({"end_turn", "max_tokens", "stop_sequence", "tool_use"})
"""Stop reasons of a message that came to its end; not `refusal`, `pause_turn` or what is to come."""

_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_DELTAS = {field: kind for kind, field in _GROWING.items()}
_ARGUMENTS = " partial_json"  # no field of a block has a space in its name


class MessagesFold:
    """Events -> one message."""

    def __init__(self) -> None:
        self._message: Json | None = None
        self._blocks: list[Json] = []
        self._finished_blocks = 0
        self._stopped = False
        self.held_bytes = 0

    def take(self, data: bytes) -> None:
        if data == DONE:
            return
        fields = read_event(data)
        kind = fields.get("type")
        expect(not self._stopped or kind == "ping", "something follows the end")
        match kind:
            case "message_start":
                expect(type(fields.get("message")) is dict and self._message is None, "the message has no beginning")
                self._message = {name: value for name, value in fields["message"].items() if name != ABOUT}
                self.held_bytes += len(data)
            case "content_block_start":
                block = fields.get("content_block")
                expect(type(block) is dict and fields.get("index") == len(self._blocks), "a block is out of order")
                self._blocks.append(dict(fields["content_block"]))
                self.held_bytes += len(data)
            case "content_block_delta":
                self._grow(fields)
                self.held_bytes += max(16, len(data) - 100)
            case "content_block_stop":
                self._finished_blocks += 1
            case "message_delta":
                self._end(fields)
            case "message_stop":
                self._stopped = True

    def _grow(self, fields: Json) -> None:
        index, delta = fields.get("index"), fields.get("delta")
        if type(index) is not int or not 0 <= index < len(self._blocks) or type(delta) is not dict:
            raise Unfit("a delta belongs to no block")
        block, kind = self._blocks[index], delta.get("type", "")
        if kind in _GROWING:
            grow(block, _GROWING[kind], str(delta.get(_GROWING[kind]) or ""))
        elif kind == "input_json_delta":
            grow(block, _ARGUMENTS, str(delta.get("partial_json") or ""))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
        else:
            raise Unfit("a delta of an unknown kind")

    def _end(self, fields: Json) -> None:
        message, delta, usage = self._message, fields.get("delta"), fields.get("usage")
        if message is None or type(delta) is not dict:
            raise Unfit("the message has no beginning")
        message.update(delta)
        if type(usage) is dict:
            told = {name: count for name, count in usage.items() if count is not None}
            message["usage"] = {**usage, **(message.get("usage") or {}), **told}

    def reply(self) -> Json:
        expect(self._stopped and self._message is not None, "the stream was cut off")
        expect(self._finished_blocks == len(self._blocks), "a block was cut off")
        return {**(self._message or {}), "content": [_settled(block) for block in self._blocks]}


class Messages:
    def fold(self) -> MessagesFold:
        return MessagesFold()

    def check(self, reply: Json, choices: int) -> None:
        expect(reply.get("type") == "message", "the reply is no message")
        expect(reply.get("stop_reason") in _WHOLE, "the message did not come to its end")
        content = reply.get("content")
        expect(type(content) is list and all(type(block) is dict for block in content), "there is no content")
        for block in content or []:
            if block.get("type") == "tool_use":
                expect(type(block.get("input")) is dict, "the input of a tool is no object")
        expect(type(reply.get("usage")) is dict, "the dialect wants a usage")

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        """A stream of this API always tells the usage; `about` is in the message that the first event holds."""
        begun: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
        usage = reply["usage"] | {"output_tokens": 0}
        told = {ABOUT: dict(about)} if about else {}
        yield _event("message_start", message={**reply, **begun, "usage": usage, **told})
        for index, block in enumerate(reply["content"]):
            yield from _block(index, block)
        end = {"stop_reason": reply["stop_reason"], "stop_sequence": reply.get("stop_sequence")}
        yield _event("message_delta", delta=end, usage=reply["usage"])
        yield _event("message_stop")


def _settled(block: Json) -> Json:
    whole: Json = settle(block)
    arguments = whole.pop(_ARGUMENTS, "")
    if arguments:
        expect_json(arguments)
        whole["input"] = orjson.loads(arguments)
    return whole


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, name=kind)


def _block(index: int, block: Json) -> Iterator[bytes]:
    texts = {name: block[name] for name in _DELTAS if isinstance(block.get(name), str)}
    citations, arguments = block.get("citations") or [], block.get("input")
    start = {**block, **dict.fromkeys(texts, "")}
    if citations:
        start["citations"] = []
    if isinstance(arguments, dict):
        start["input"] = {}
    yield _event("content_block_start", index=index, content_block=start)

    def delta(kind: str, **fields: Any) -> bytes:
        return _event("content_block_delta", index=index, delta={"type": kind, **fields})

    for name, text in texts.items():
        # A signature replaces what was there in the SDKs: it comes in one piece.
        for piece in [text] if name == "signature" and text else pieces(text):
            yield delta(_DELTAS[name], **{name: piece})
    for citation in citations:
        yield delta("citations_delta", citation=citation)
    if isinstance(arguments, dict) and arguments:
        yield delta("input_json_delta", partial_json=orjson.dumps(arguments).decode())
    yield _event("content_block_stop", index=index)

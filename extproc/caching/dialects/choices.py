"""Streams of choices: what /v1/chat/completions and /v1/completions have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from extproc.caching.sse import DONE, event

from .reply import ABOUT, Json, Unfit, expect, merge, read_event, settle

_WHOLE = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Finish reasons of a choice that came to its end. Others (`abort`, `error`, a filter's) are not worth keeping."""

_ENVELOPE = ("id", "object", "created", "model")
_PADDING = "obfuscation"  # random characters with which OpenAI hides the length of chunks

_PIECE_BYTES = 16
"""The least that a piece of text costs."""
_EMPTY_CHOICE_BYTES = len('"choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":null}]')

TakeChoice = Callable[[Json, Json], None]


class ChoicesFold:
    """Chunks -> one reply. Fields it does not know survive: at the top the first value, in a choice the last, lists
    joined.

    Args:
        object_name: the `object` of the blocking reply.
        take: adds a choice of a chunk to the choice that is being built.
    """

    def __init__(self, object_name: str, take: TakeChoice) -> None:
        self._object = object_name
        self._take_choice = take
        self._top: Json = {}
        self._usage: Json | None = None
        self._choices: dict[int, Json] = {}
        self._done = False
        self._repeated_bytes = 0
        self.held_bytes = 0

    def take(self, data: bytes) -> None:
        if data == DONE:
            self._done = True
            return
        expect(not self._done, "something follows the end")
        chunk = read_event(data)
        choices, usage = chunk.pop("choices", None), chunk.pop("usage", None)
        expect(type(choices) is list, "a chunk has no choices")
        if type(usage) is dict:
            self._usage = usage
        for name, value in chunk.items():
            if name not in (ABOUT, _PADDING) and self._top.get(name) is None:
                self._top[name] = value
        for choice in choices:
            self._take(choice)
        if choices:
            self.held_bytes += max(_PIECE_BYTES, len(data) - self._envelope_bytes(chunk))

    def _envelope_bytes(self, chunk: Json) -> int:
        """What every chunk repeats and is held once: measured on the first."""
        if not self._repeated_bytes:
            self._repeated_bytes = len(orjson.dumps(chunk)) + _EMPTY_CHOICE_BYTES
        return self._repeated_bytes

    def _take(self, choice: Any) -> None:
        expect(type(choice) is dict and type(choice.get("index")) is int, "a choice has no index")
        held = self._choices.setdefault(choice["index"], {"index": choice["index"]})
        self._take_choice(held, choice)

    def reply(self) -> Json:
        expect(self._done, "the stream was cut off")
        choices = [settle(self._choices[index]) for index in sorted(self._choices)]
        reply = {**self._top, "object": self._object, "choices": choices}
        return reply if self._usage is None else {**reply, "usage": self._usage}


def take_rest(held: Json, choice: Json, taken: str) -> None:
    """The fields of a choice besides its index and what `taken` names."""
    for name, value in choice.items():
        if name not in ("index", taken):
            merge(held, name, value, strings_grow=False)


def check_choices(reply: Json, wanted: int) -> list[Json]:
    """The choices of a blocking reply.

    Raises:
        Unfit: one is missing or did not come to its end.
    """
    choices = reply.get("choices")
    expect(type(choices) is list and all(type(choice) is dict for choice in choices), "there are no choices")
    if sorted(choice.get("index", -1) for choice in choices or []) != list(range(wanted)):
        raise Unfit("a choice is missing")
    for choice in choices or []:
        expect(choice.get("finish_reason") in _WHOLE, "a choice did not come to its end")
    return choices or []


def unfold_choices(
    reply: Json,
    object_name: str,
    include_usage: bool,
    about: Mapping[str, Any],
    parts: Callable[[Json], Iterator[Json]],
) -> Iterator[bytes]:
    """The chunks of a stream, up to `[DONE]`.

    Args:
        object_name: the `object` of a chunk.
        parts: cuts a choice into the choices of chunks, in order.
    """
    envelope = {name: reply[name] for name in _ENVELOPE if name in reply} | {"object": object_name}
    extras = {name: value for name, value in reply.items() if name not in (*_ENVELOPE, "choices", "usage")}
    once = {**extras, ABOUT: dict(about)} if about else extras
    for choice in reply["choices"]:
        for part in parts(choice):
            yield event({**envelope, **once, "choices": [part]})
            once = {}
    if include_usage and reply.get("usage") is not None:
        yield event({**envelope, "choices": [], "usage": reply["usage"]})
    yield b"data: " + DONE + b"\n\n"

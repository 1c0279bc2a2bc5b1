"""What every dialect needs to write a reply, and what the server needs of a dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

from extproc.sim.errors import malformed
from extproc.sim.media import MediaReader
from extproc.sim.template import Prompt

FinishReason = Literal["stop", "length"]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """The request that is answered. `created_s` is Unix time."""

    id: str
    model: str
    created_s: int
    body: Body


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished answer, token by token."""

    pieces: Sequence[str]
    finish_reason: FinishReason

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call; prompts count once, however many choices were made of them."""

    prompt_tokens: int
    cached_tokens: int
    media_tokens: int
    completion_tokens: int

    def openai(self) -> dict[str, Any]:
        details = {"cached_tokens": self.cached_tokens}
        if self.media_tokens:
            details["multimodal_tokens"] = self.media_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": details,
        }


class EventStream(Protocol):
    """Writes one streamed reply, event by event; each method returns bytes ready to send."""

    def preamble(self) -> bytes:
        """Sent with the response headers, before any token exists."""
        ...

    def opening(self, usage: Usage) -> bytes:
        """Sent with the first token."""
        ...

    def piece(self, choice: int, text: str) -> bytes: ...

    def ending(self, choice: int, answer: Choice) -> bytes: ...

    def closing(self, usage: Usage) -> bytes: ...


class Dialect(Protocol):
    """One endpoint: how its body becomes prompts and how its reply is written."""

    path: str
    id_prefix: str

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        """The prompts of a body, usually one.

        Raises:
            Refused: the body is not one of this endpoint's (400).
        """
        ...

    def max_tokens(self, body: Body) -> int | None:
        """The client's limit, None where it set none, 0 where the endpoint generates nothing."""
        ...

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        """The body of a blocking reply."""
        ...

    def stream(self, call: Call, choices: int) -> EventStream | None:
        """The writer of a streamed reply; None where the endpoint does not stream."""
        ...


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event."""
    prefix = f"event: {event}\ndata: ".encode() if event else b"data: "
    return prefix + orjson.dumps(data) + b"\n\n"


def whole_number(body: Body, *fields: str) -> int | None:
    """The first of `fields` that is set.

    Raises:
        Refused: it is not a whole number above 0 (400).
    """
    for field in fields:
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise malformed(f"{field} must be at least 1, got {value!r}")
        return value
    return None


def objects(body: Body, field: str) -> list[Mapping[str, Any]]:
    """A list of JSON objects under `field`; empty where it is absent.

    Raises:
        Refused: it is something else (400).
    """
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise malformed(f"{field} must be a list of objects")
    return value

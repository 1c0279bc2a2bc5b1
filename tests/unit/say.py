"""Short ways to say requests in tests."""

from __future__ import annotations

import base64

from extproc.api.requests import Endpoint, InferenceRequest, Media, Message, Part, Text
from extproc.fleet.events import Finished, ReplicaUp, Routed
from extproc.fleet.index import CacheIndex
from extproc.fleet.state import Fleet
from extproc.prefix import Chain

# 1 x 1 pixel PNG
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def image(content: bytes = PNG, **fields: str) -> Media:
    return Media("image", base64=base64.b64encode(content).decode(), **fields)


def message(*parts: Part | str, role: str = "user") -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def request(*messages: Message, **fields: object) -> InferenceRequest:
    options: dict[str, object] = {"endpoint": Endpoint.CHAT_COMPLETIONS, "model": "m", "fields": {}, **fields}
    return InferenceRequest(messages=messages, **options)  # type: ignore[arg-type]


def chain(*blocks: int, tail_tokens: int = 0) -> Chain:
    """A prompt of blocks of 10 tokens each; equal leading numbers are an equal prefix."""
    return Chain(blocks, (10,) * len(blocks), 10 * len(blocks) + tail_tokens)


def routed(ticket: str, replica: str, prompt: Chain, *, at_s: float = 0.0, request_id: str = "") -> Routed:
    return Routed(at_s, ticket, request_id, replica, prompt, prompt.prompt_tokens)


def served(ticket: str, replica: str | None, *, at_s: float = 1.0, status: int = 200, attempts: int = 1) -> Finished:
    return Finished(at_s, ticket, served=replica, status=status, attempts=attempts, reached=replica is not None)


def fleet_of(*names: str, max_blocks: int = 1000) -> Fleet:
    fleet = Fleet(CacheIndex(max_blocks))
    for name in names:
        fleet.apply(ReplicaUp(0.0, name))
    return fleet

"""Short ways to say requests in tests."""

from __future__ import annotations

import base64
from collections.abc import Callable

from extproc.api.requests import Endpoint, InferenceRequest, Media, Message, Part, Text
from extproc.fleet.events import Finished, ReplicaUp, Routed, Usage
from extproc.fleet.index import CacheIndex
from extproc.fleet.outcome import Outcome
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


def chain(*blocks: int, tail_tokens: int = 0, block_tokens: int = 10) -> Chain:
    """A prompt of blocks of one weight; equal leading numbers are an equal prefix, and nothing else is."""
    hashes = tuple(hash(blocks[:end]) % 2**64 for end in range(1, len(blocks) + 1))
    return Chain(hashes, (block_tokens,) * len(blocks), block_tokens * len(blocks) + tail_tokens)


def routed(
    ticket: str,
    replica: str,
    prompt: Chain,
    *,
    at_s: float = 0.0,
    request_id: str = "",
    matched: int = 0,
    model: str = "",
    timed: bool = False,
) -> Routed:
    uncached_tokens = max(0, prompt.prompt_tokens - matched)
    return Routed(at_s, ticket, request_id, replica, prompt, uncached_tokens, model=model, timed=timed)


def served(
    ticket: str,
    replica: str | None,
    *,
    at_s: float = 1.0,
    status: int = 200,
    attempts: int = 1,
    usage: Usage = Usage(),  # noqa: B008 - frozen
) -> Finished:
    return Finished(at_s, ticket, "", replica, status, attempts, reached=replica is not None, usage=usage)


def fleet_of(*names: str, max_blocks: int = 1000, observe: Callable[[Outcome], None] | None = None) -> Fleet:
    fleet = Fleet(CacheIndex(max_blocks), observe=observe)
    for name in names:
        fleet.apply(ReplicaUp(0.0, name))
    return fleet

"""A complete reply, however it travelled, and the bytes in which stores keep it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extproc.api.requests import Endpoint

COMPRESS_FROM_BYTES = 4096
"""Bodies of at least so many bytes are compressed."""

_VERSION = 1
_COMPRESSED = 1
_ENDPOINTS = tuple(Endpoint)
_SEAL = struct.Struct(">BI")  # version, CRC-32 of all that follows
_HEAD = struct.Struct(">BBIdqqq")  # flags, endpoint, body bytes, created_s, prompt, completion and cached tokens
_UNKNOWN = -1


class NotAnAnswer(ValueError):
    """Bytes that no `pack` of this version wrote."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine counted, in tokens. `cached_tokens` are among the prompt's."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete 200 reply.

    Args:
        body: the blocking form of the endpoint's dialect: one JSON object.
        created_s: when it was complete, Unix time.
        usage: None where the engine told none.
    """

    endpoint: Endpoint
    body: bytes
    created_s: float
    usage: Usage | None = None


def read_usage(reply: Mapping[str, Any]) -> Usage | None:
    """The counts of a reply's `usage`, whichever dialect names them."""
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    if prompt is None:
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else _count(usage, "cache_read_input_tokens")
    return Usage(prompt, _count(usage, "completion_tokens", "output_tokens") or 0, cached or 0)


def pack(answer: Answer) -> bytes:
    """Bytes from which `unpack` makes the answer again; large bodies are compressed, at the fastest level."""
    body, flags = answer.body, 0
    if len(body) >= COMPRESS_FROM_BYTES:
        squeezed = zlib.compress(body, 1)
        if len(squeezed) < len(body):
            body, flags = squeezed, _COMPRESSED
    usage = answer.usage or Usage(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    head = _HEAD.pack(
        flags,
        _ENDPOINTS.index(answer.endpoint),
        len(answer.body),
        answer.created_s,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
    )
    return _SEAL.pack(_VERSION, zlib.crc32(body, zlib.crc32(head))) + head + body


def unpack(packed: bytes) -> Answer:
    """The answer behind the bytes.

    Raises:
        NotAnAnswer: they are something else, cut short or changed.
    """
    if len(packed) < _SEAL.size + _HEAD.size:
        raise NotAnAnswer("too short")
    version, checksum = _SEAL.unpack_from(packed)
    sealed = packed[_SEAL.size :]
    if version != _VERSION or zlib.crc32(sealed) != checksum:
        raise NotAnAnswer("of another version, or changed")
    flags, endpoint, size, created_s, *counts = _HEAD.unpack_from(sealed)
    body = sealed[_HEAD.size :]
    if flags:
        body = _decompress(body, size)
    if len(body) != size:
        raise NotAnAnswer("the size differs")
    usage = None if counts[0] == _UNKNOWN else Usage(*counts)
    return Answer(_ENDPOINTS[endpoint], body, created_s, usage)


def _decompress(body: bytes, size: int) -> bytes:
    try:
        # Bounded, so that a few bytes cannot become gigabytes.
        return zlib.decompressobj().decompress(body, size + 1)
    except zlib.error:
        raise NotAnAnswer("cannot be decompressed") from None


def _count(holder: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = holder.get(name)
        if type(value) is int and 0 <= value < 1 << 63:
            return value
    return None

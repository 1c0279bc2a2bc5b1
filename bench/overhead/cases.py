"""The requests that are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from bench.common.images import data_url, noise_png

MODEL = "bench"
PATH = "/v1/chat/completions"
_SEED = 20261122
_SMALL_BYTES = 500
_IMAGE_SIDE = 500  # noise: 750 kB as PNG, 1 MB as base64


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load.

    Args:
        body: `500B` or `1MB`.
        connections: each has one request in flight.
    """

    body: str
    connections: int

    @property
    def name(self) -> str:
        return f"{self.body}-{self.connections}"

    @property
    def content(self) -> bytes:
        return bodies()[self.body]


CASES = tuple(Case(body, connections) for body in ("500B", "1MB") for connections in (1, 16))


@cache
def bodies() -> dict[str, bytes]:
    """Name -> request body."""
    return {"500B": _small(), "1MB": _with_image()}


def _small() -> bytes:
    short = _chat("")
    return _chat("x" * (_SMALL_BYTES - len(short)))


def _with_image() -> bytes:
    image = {"type": "image_url", "image_url": {"url": data_url(noise_png(_IMAGE_SIDE, _IMAGE_SIDE, _SEED))}}
    return _chat([image, {"type": "text", "text": "What is in this image?"}])


def _chat(content: object) -> bytes:
    messages = [{"role": "system", "content": "You are a careful assistant."}, {"role": "user", "content": content}]
    return json.dumps({"model": MODEL, "max_tokens": 1, "messages": messages}).encode()

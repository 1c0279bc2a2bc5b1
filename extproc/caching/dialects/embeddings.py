"""/v1/embeddings: replies, which are never streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .reply import Fold, Json, Unfit, expect


class Embeddings:
    def fold(self) -> Fold:
        raise Unfit("embeddings are not streamed")

    def check(self, reply: Json, choices: int) -> None:
        data = reply.get("data")
        expect(type(data) is list and len(data) == choices, "an embedding is missing")
        for item in data or []:
            expect(type(item) is dict and bool(item.get("embedding")), "an embedding is empty")

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        raise Unfit("embeddings are not streamed")

"""/v1/embeddings: prefill only. The vector is a function of the prompt's tokens and has unit length."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from typing import Any

import pybase64
import xxhash

from extproc.sim.content import read_content
from extproc.sim.dialects.completions import bare_prompts
from extproc.sim.errors import malformed
from extproc.sim.media import MediaReader
from extproc.sim.reply import Body, Call, Choice, Usage, objects, whole_number
from extproc.sim.template import Prompt, Turn, render

_DIMENSIONS = 64


class Embeddings:
    path = "/v1/embeddings"
    id_prefix = "embd-"

    def prompts(self, body: Body, reader: MediaReader) -> list[Prompt]:
        messages = objects(body, "messages")
        if not messages:
            return bare_prompts(body.get("input"), "input")
        turns = [Turn(str(m.get("role", "user")), read_content(m.get("content"), reader)) for m in messages]
        return [render(turns, open_reply=False)]

    def max_tokens(self, body: Body) -> int | None:
        return 0

    def whole(self, call: Call, choices: Sequence[Choice], prompts: Sequence[Prompt], usage: Usage) -> dict[str, Any]:
        dimensions = whole_number(call.body, "dimensions") or _DIMENSIONS
        packed = call.body.get("encoding_format") == "base64"
        return {
            "id": call.id,
            "object": "list",
            "created": call.created_s,
            "model": call.model,
            "data": [
                {"index": index, "object": "embedding", "embedding": _encode(_vector(prompt, dimensions), packed)}
                for index, prompt in enumerate(prompts)
            ],
            "usage": usage.openai(),
        }

    def stream(self, call: Call, choices: int) -> None:
        if call.body.get("stream"):
            raise malformed("embeddings are not streamed")


def _vector(prompt: Prompt, dimensions: int) -> list[float]:
    content = struct.pack(f"<{len(prompt.token_ids)}I", *prompt.token_ids)
    content += "".join(item.identity for item in prompt.media).encode()
    generator = random.Random(xxhash.xxh64_intdigest(content))
    vector = [generator.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.hypot(*vector)
    return [value / length for value in vector]


def _encode(vector: list[float], packed: bool) -> list[float] | str:
    return pybase64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if packed else vector

"""One streamed chat completion, timed as a client sees it."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Args:
        replica: that served, as `x-kvgate-replica` says; empty without a gateway.
        first_chunk_s: from sending to the first event with a choice: an engine's first token, whatever its text is.
        first_text_s: from sending to the first event with content; nan if there was none.
        total_s: from sending to the end.
        prompt_tokens: as the engine counted them.
        cached_tokens: of those, found in a cache.
        predicted_tokens: what the gateway expected to be cached.
        failure: why there is no whole answer; empty if there is one.
    """

    replica: str = ""
    first_chunk_s: float = _NAN
    first_text_s: float = _NAN
    total_s: float = _NAN
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    predicted_tokens: int = 0
    text: str = ""
    failure: str = ""


async def ask(http: aiohttp.ClientSession, body: Mapping[str, Any]) -> Reply:
    """Sends `body` as a stream with usage. Never raises for what the network or the server does."""
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    data = io.BytesIO(json.dumps(asked).encode())
    headers = {"content-type": "application/json"}
    sent_s = time.perf_counter()
    try:
        async with http.post("/v1/chat/completions", data=data, headers=headers) as response:
            if response.status != 200:
                return Reply(failure=f"status {response.status}: {(await response.text())[:200]}")
            return await _read(response, sent_s)
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        return Reply(failure=f"{type(error).__name__}: {error}")


async def _read(response: aiohttp.ClientResponse, sent_s: float) -> Reply:
    pieces: list[str] = []
    usage: dict[str, Any] = {}
    first_chunk_s = first_text_s = _NAN
    async for line in response.content:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[len(b"data: ") :])
        if "error" in chunk:
            return Reply(failure=f"in mid-stream: {str(chunk['error'])[:200]}")
        usage = chunk.get("usage") or usage
        choices = chunk.get("choices", ())
        now_s = time.perf_counter() - sent_s
        if choices and first_chunk_s != first_chunk_s:
            first_chunk_s = now_s
        piece = "".join(choice["delta"].get("content") or "" for choice in choices)
        if piece and not pieces:
            first_text_s = now_s
        if piece:
            pieces.append(piece)
    details = usage.get("prompt_tokens_details") or {}
    return Reply(
        replica=response.headers.get("x-kvgate-replica", ""),
        first_chunk_s=first_chunk_s,
        first_text_s=first_text_s,
        total_s=time.perf_counter() - sent_s,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        predicted_tokens=int(response.headers.get("x-kvgate-predicted-cached-tokens") or 0),
        text="".join(pieces),
        failure="" if usage else "the answer has no usage",
    )

"""Instances of the semantic cache that share a Redis."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from extproc.api import body
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.caching.answer import Answer
from extproc.caching.semantic import Asked, Found, HashingEmbedder, RedisEntries, SemanticCache, SemanticSettings
from extproc.clock import Clock, ManualClock
from extproc.redis_link import RedisLink
from tests.redis_server import RedisServer

QUESTION = "What is the capital of France?"
AGAIN = "Please tell me the capital of France."
# One is the other with a word that may be said or not.
SOFT, WITHOUT = "How does a really old pump work?", "How does an old pump work?"


def searching(*, keeps: bool = False) -> RedisServer:
    """A Redis with RediSearch, not started; the test is skipped where there is none."""
    try:
        return RedisServer(started=False, search=True, keeps=keeps)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


@asynccontextmanager
async def instance(
    redis: RedisServer,
    clock: Clock | None = None,
    *,
    ttl_s: float = 60.0,
    max_entries: int = 2000,
) -> AsyncIterator[SemanticCache]:
    link = RedisLink(redis.url, clock or ManualClock(), timeout_s=2.0)
    settings = SemanticSettings(ttl_s=ttl_s, threshold=0.5)
    entries = RedisEntries(link, max_entries=max_entries)
    try:
        yield SemanticCache(HashingEmbedder(), entries, settings, rng=random.Random(1))
    finally:
        await link.close()


def chat(text: str) -> InferenceRequest:
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return body.parse(Endpoint.CHAT_COMPLETIONS, json.dumps(asked).encode())


def reply(text: str = "Paris") -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Answer(Endpoint.CHAT_COMPLETIONS, json.dumps({"choices": [choice]}).encode(), created_s=1.0)


async def ask(cache: SemanticCache, text: str, tenant: str = "t") -> bool:
    """Whether a stored answer was given; if not, one is stored."""
    found = await cache.look_up(chat(text), tenant)
    if isinstance(found, Asked):
        await cache.store(found, reply())
    return isinstance(found, Found)

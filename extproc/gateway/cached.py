"""The steps that look for an answer which has been given before: to an equal request, and to one of like meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from extproc.caching.answer import Answer
from extproc.caching.exact import ExactCache, Hit
from extproc.caching.lead import Lead
from extproc.caching.replay import json_reply, sse_reply
from extproc.caching.semantic.cache import Found, SemanticCache
from extproc.gateway import wire
from extproc.gateway.capture import Capture

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange


class FromExactCache:
    """Equal requests get one answer. One that is under way is waited for."""

    def __init__(self, cache: ExactCache) -> None:
        self._cache = cache

    async def __call__(self, exchange: Exchange) -> bytes | None:
        scope = exchange.directory.policies.scope(exchange.caller.tenant)
        found = await self._cache.look_up(
            exchange.request, scope, exchange.directives, before_waiting=exchange.ask_for_time
        )
        if isinstance(found, Hit):
            return cached(exchange, found.answer, "exact")
        if isinstance(found, Lead):
            exchange.response.keep(Capture(found))
        return None


class FromSemanticCache:
    """The answer to a question of like meaning. Asked only where an exact answer might have been given."""

    def __init__(self, cache: SemanticCache) -> None:
        self._cache = cache
        self._storing: set[asyncio.Task[None]] = set()

    async def __call__(self, exchange: Exchange) -> bytes | None:
        capture, directives = exchange.response.capture, exchange.directives
        if capture is None:
            return None
        holder = exchange.directory.policies.scope(exchange.caller.tenant)
        found = await self._cache.look_up(
            exchange.request, holder, use=not directives.no_cache, max_age_s=directives.max_age_s
        )
        if isinstance(found, Found):
            return cached(exchange, found.answer, "semantic", found.similarity)
        if found is not None:
            asked = found
            capture.then(lambda answer: self._later(self._cache.store(asked, answer)))
        return None

    def _later(self, storing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(storing)
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)


def cached(exchange: Exchange, answer: Answer, kind: str, similarity: float | None = None) -> bytes:
    """The reply to a hit."""
    exchange.answered(kind)
    prompt_tokens = answer.usage.prompt_tokens if answer.usage else exchange.chain.prompt_tokens
    completion_tokens = answer.usage.completion_tokens if answer.usage else 0
    exchange.observer.saved(kind, exchange.model.name, prompt_tokens, completion_tokens)
    request = exchange.request
    about: dict[str, object] = {"cache": kind, "latency_ms": round(exchange.spent_s * 1000, 3)}
    if similarity is not None:
        about["similarity"] = round(similarity, 6)
    headers = [("x-kvgate-cache", kind)]
    if request.stream:
        body = sse_reply(answer, request.stream_usage, about)
        return wire.reply(200, body, headers, content_type="text/event-stream", notes=exchange.notes)
    return wire.reply(200, json_reply(answer, about), headers, notes=exchange.notes)

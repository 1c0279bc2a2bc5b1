"""The step that looks for an answer which has been given before to an equal request; the reply with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extproc.caching.answer import Answer
from extproc.caching.exact import ExactCache, Hit
from extproc.caching.lead import Lead
from extproc.caching.replay import json_reply, sse_reply
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

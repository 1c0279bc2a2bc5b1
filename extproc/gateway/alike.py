"""The step that looks for the answer to a question of like meaning. Imported only where there is a semantic cache."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from extproc.caching.semantic.cache import Found, SemanticCache
from extproc.gateway.cached import cached

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange


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

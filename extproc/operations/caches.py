"""The response caches, as an operator sees and flushes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extproc.admin.errors import Away, NotFound, NotNow
from extproc.admin.v1 import admin_pb2 as pb
from extproc.caching.exact import ExactCache
from extproc.gateway.policies import Policies
from extproc.redis_link import StoreDown

if TYPE_CHECKING:
    from extproc.caching.semantic.cache import SemanticCache


@dataclass(frozen=True, slots=True)
class Caches:
    """See `admin.parts.Caches`.

    Args:
        policies: those in force.
        tenants: names all that are known.
    """

    exact: ExactCache | None
    semantic: SemanticCache | None
    policies: Callable[[], Policies]
    tenants: Callable[[], list[str]]

    def get(self) -> pb.Caches:
        return pb.Caches(exact=self._exact(), semantic=self._semantic())

    async def flush(self, request: pb.FlushCachesRequest) -> pb.FlushCachesResponse:
        if self.exact is None:
            raise NotNow("Nothing is cached here: cache.enabled is false.")
        scopes = self._scopes(request.scope) if request.scope else []
        try:
            for scope in scopes or (None,):
                await self.exact.flush(scope)
                if self.semantic is not None:
                    await self.semantic.flush(scope)
        except StoreDown:
            raise Away("Redis cannot be asked; whether anything was forgotten is not known.") from None
        return pb.FlushCachesResponse(scopes=scopes)

    def _scopes(self, name: str) -> list[str]:
        """What a name means: the scope of a tenant, a scope that tenants share, or both."""
        policies = self.policies()
        shared = {f"shared:{scope}" for scope in policies.scopes.values()}
        tenants = self.tenants()
        kind, colon, rest = name.partition(":")
        found: list[str] = []
        if name in shared:
            found = [name]
        elif colon and kind == "tenant" and rest in tenants:
            found = [policies.scope(rest)]
        else:
            found += [f"shared:{name}"] if f"shared:{name}" in shared else []
            found += [policies.scope(name)] if name in tenants else []
        if not found:
            raise NotFound(f"No tenant and no shared scope is named {name!r}.")
        return list(dict.fromkeys(found))

    def _exact(self) -> pb.ExactCache:
        if self.exact is None:
            return pb.ExactCache()
        stats = self.exact.stats()
        return pb.ExactCache(
            enabled=True,
            hits=stats.hits,
            misses=stats.misses,
            stored=stats.stored,
            evicted=stats.evicted,
            garbage=stats.garbage,
            dropped=stats.dropped,
            entries=-1 if stats.entries is None else stats.entries,
            held_bytes=-1 if stats.held_bytes is None else stats.held_bytes,
        )

    def _semantic(self) -> pb.SemanticCache:
        if self.semantic is None:
            return pb.SemanticCache()
        stats = self.semantic.stats
        return pb.SemanticCache(
            enabled=True,
            same=stats.same,
            learned=stats.learned,
            explored=stats.explored,
            agreed=stats.agreed,
            misses=stats.misses,
            stored=stats.stored,
            without_vector=stats.without_vector,
            refused={because: float(count) for because, count in stats.refused.items()},
        )

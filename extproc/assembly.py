"""Settings -> the parts that limit and cache, and the path of requests through them. Used by `server.py` alone.

What needs numpy or redis-py is imported where it is built: a processor that needs neither starts in two thirds of
the time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from extproc.caching.exact import ExactCache, ExactSettings
from extproc.caching.memory import MemoryStore
from extproc.clock import Clock
from extproc.config import policies as config
from extproc.config.settings import Settings
from extproc.fleet.state import Fleet
from extproc.gateway.admit import Admit
from extproc.gateway.cached import FromExactCache
from extproc.gateway.pipeline import Pipeline
from extproc.gateway.steps import Fingerprint, Route, Step, Understand
from extproc.gateway.tokenise import Tokenise
from extproc.gateway.traced import Timed
from extproc.redis_link import RedisLink
from extproc.tenants.apart import Apart
from extproc.tenants.ledger import Ledger
from extproc.tenants.memory import MemoryLedger

if TYPE_CHECKING:
    from extproc.caching.semantic.cache import SemanticCache
    from extproc.caching.semantic.embedders import Embedder

Link = Callable[[str], RedisLink]
Task = tuple[str, Callable[[], Awaitable[None]]]


@dataclass(frozen=True)
class Assembly:
    """What outlives a change of the configuration.

    Args:
        tasks: to be run beside the requests, by name.
        closing: to be awaited at the end, in order.
        links: to each Redis, by an address without credentials.
    """

    ledger: Ledger
    exact: ExactCache | None
    semantic: SemanticCache | None
    pipeline: Pipeline
    tokenise: Tokenise
    tasks: tuple[Task, ...]
    closing: tuple[Callable[[], Awaitable[None]], ...]
    links: Mapping[str, RedisLink]

    @classmethod
    def of(cls, settings: Settings, fleet: Fleet, clock: Clock) -> Assembly:
        """Builds it. Nothing is connected to yet.

        Raises:
            ValueError: a Redis URL that is none.
        """
        links: dict[str, RedisLink] = {}

        def link(url: str) -> RedisLink:
            return links.setdefault(url, RedisLink(url, clock))

        ledger = _ledger(settings.ratelimit, settings.budget, clock, link)
        tasks: list[Task] = [("settling bills", ledger.run)]
        tokenise = Tokenise(fleet)
        steps: list[tuple[str, Step]] = [
            ("understand", Understand()),
            ("fingerprint", Fingerprint(fleet)),
            ("tokenise", tokenise),
            ("admit", Admit(ledger)),
        ]
        closing = [ledger.close]
        exact, semantic = None, None
        if settings.cache.enabled:
            exact, storing = _exact_cache(settings.cache, clock, link)
            tasks += storing
            steps.append(("exact", FromExactCache(exact)))
        if settings.cache.enabled and settings.cache.semantic.enabled:
            from extproc.gateway.alike import FromSemanticCache

            embedder = _embedder(settings.cache.semantic)
            semantic = _semantic_cache(settings.cache, embedder, clock, link)
            steps.append(("semantic", FromSemanticCache(semantic)))
            closing.append(embedder.close)
        steps.append(("route", Route(fleet, clock)))
        closing += [each.close for each in links.values()]
        if settings.telemetry.traced:
            steps = [(name, Timed(name, step)) for name, step in steps]
        by_address = {_address(url): each for url, each in links.items()}
        return cls(ledger, exact, semantic, Pipeline(steps), tokenise, tuple(tasks), tuple(closing), by_address)

    def redis_up(self) -> dict[str, bool]:
        """Whether the latest call to each Redis succeeded."""
        return {address: not link.down for address, link in self.links.items()}


def _address(url: str) -> str:
    """Of a Redis: host, port and database, or its socket."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def put_off(old: Settings, new: Settings) -> Iterator[str]:
    """What differs and takes effect at the next start only, a sentence each."""
    for section in ("server", "envoy", "operations", "processor", "cache", "telemetry"):
        if getattr(old, section) != getattr(new, section):
            yield f"{section}: what changed there takes effect at the next start"
    if old.auth.enabled != new.auth.enabled:
        yield f"auth.enabled: Envoy fails {'closed' if old.auth.enabled else 'open'} until the next start"
    if old.auth.tenant_header != new.auth.tenant_header:
        yield "auth.tenant_header: Envoy passes on the new one from the next start"
    if _stores_of(old) != _stores_of(new):
        yield "ratelimit, budget: another backend or redis_url takes effect at the next start"
    if old.routing.session_header != new.routing.session_header:
        yield "routing.session_header: Envoy passes on the new one from the next start"
    blocks = [each.routing.prefix_kv_aware.max_blocks_per_replica for each in (old, new)]
    if blocks[0] != blocks[1]:
        yield "routing.prefix_kv_aware.max_blocks_per_replica takes effect at the next start"


def _stores_of(settings: Settings) -> tuple[str | None, ...]:
    """What a running ledger cannot change."""
    return tuple(_url(each) for each in (settings.ratelimit, settings.budget) if each and each.enabled)


def _ledger(limits: config.RateLimit | None, budget: config.Budget, clock: Clock, link: Link) -> Ledger:
    """One for limits and budgets, so that a request asks once; two only where they are kept in different places."""
    down = limits.when_down if limits is not None else "open", budget.when_down

    def at(url: str | None) -> Ledger:
        if url is None:
            return MemoryLedger(clock)
        from extproc.tenants.redis_ledger import RedisLedger

        return RedisLedger(link(url), clock, rate_when_down=down[0], budget_when_down=down[1])

    urls = [_url(each) for each in (limits, budget) if each is not None and each.enabled]
    return Apart(at(urls[0]), at(urls[1])) if len(set(urls)) > 1 else at(next(iter(urls), None))


def _url(section: config.Shared) -> str | None:
    return section.redis_url if section.backend == "redis" else None


def _exact_cache(cache: config.Cache, clock: Clock, link: Link) -> tuple[ExactCache, list[Task]]:
    """The cache, and what is to be run beside it."""
    settings = ExactSettings(
        mode=cache.mode, ttl_s=cache.ttl_seconds, max_answer_bytes=cache.max_answer_bytes, wait_s=cache.wait_s
    )
    if cache.backend == "redis":
        from extproc.caching.redis_store import RedisStore

        shared = RedisStore(link(cache.redis_url or ""), max_answer_bytes=cache.max_answer_bytes)
        return ExactCache(shared, clock, settings, leases=shared), [("storing answers", shared.run)]
    own = MemoryStore(clock, max_bytes=cache.max_bytes, max_answer_bytes=cache.max_answer_bytes)
    return ExactCache(own, clock, settings), []


def _embedder(semantic: config.SemanticCache) -> Embedder:
    from extproc.caching.semantic.embedders.hashing import HashingEmbedder
    from extproc.caching.semantic.embedders.openai_compatible import OpenAICompatibleEmbedder
    from extproc.caching.semantic.embedders.sentence_transformers import SentenceTransformersEmbedder

    if semantic.embedder == "hashing":
        return HashingEmbedder()
    if semantic.embedder == "sentence_transformers":
        return SentenceTransformersEmbedder(semantic.model)
    base_url = str(semantic.base_url) if semantic.base_url else "https://api.openai.com/v1"
    return OpenAICompatibleEmbedder(base_url, semantic.model, api_key=semantic.api_key)


def _semantic_cache(cache: config.Cache, embedder: Embedder, clock: Clock, link: Link) -> SemanticCache:
    from extproc.caching.semantic.cache import SemanticCache, SemanticSettings
    from extproc.caching.semantic.memory import MemoryEntries
    from extproc.caching.semantic.redis_entries import RedisEntries

    entries: MemoryEntries | RedisEntries = MemoryEntries(clock, max_entries=cache.semantic.max_entries)
    if cache.backend == "redis":
        entries = RedisEntries(link(cache.redis_url or ""), max_entries=cache.semantic.max_entries)
    settings = SemanticSettings(
        threshold=cache.semantic.threshold, max_error_rate=cache.semantic.max_error_rate, ttl_s=cache.ttl_seconds
    )
    return SemanticCache(embedder, entries, settings)

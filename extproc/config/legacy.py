"""Files of the first generation: every key they knew still loads, or fails loudly where silence would be unsafe.

Sections and keys that mean something already are in `settings.py`. Those that do not stand here, so that a mistyped one
is still an unknown key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from .errors import KeyPath, Problem
from .settings import PrefixKvAware, Routing, Section, Settings


def _refuse_unprotected(enabled: bool) -> bool:
    if enabled:
        raise ValueError(
            "is not supported in this version, which will not serve without a protection that its file asks for; "
            "set it to false to serve without it"
        )
    return enabled


Protection = Annotated[bool, AfterValidator(_refuse_unprotected)]
Backend = Literal["memory", "redis"]


class ApiKey(Section):
    """One client of the first generation."""

    key: str
    tenant: str | None = None
    rpm: PositiveInt | None = None
    budget_usd: NonNegativeFloat | None = None


class Auth(Section):
    """API keys."""

    enabled: Protection = False
    api_keys: tuple[ApiKey, ...] = ()


class SemanticCache(Section):
    """Answers to prompts of like meaning."""

    enabled: bool = False
    threshold: float = Field(0.95, ge=0, le=1)
    embedder: Literal["hashing", "sentence_transformers", "openai"] = "hashing"
    model: str = "all-MiniLM-L6-v2"
    max_entries: PositiveInt = 2000


class Cache(Section):
    """Answers to identical requests."""

    enabled: bool = True
    backend: Backend = "memory"
    redis_url: str | None = None
    ttl_seconds: PositiveFloat = 3600
    semantic: SemanticCache = Field(default_factory=SemanticCache)


class RateLimit(Section):
    """Requests per minute."""

    enabled: bool = True
    backend: Backend = "memory"
    redis_url: str | None = None
    default_rpm: PositiveInt = 600
    burst: NonNegativeInt = 60


class Budget(Section):
    """US dollars per tenant and window."""

    enabled: Protection = False
    default_usd: NonNegativeFloat | None = None
    window_s: PositiveFloat = 86400


class FirstPrefixKvAware(PrefixKvAware):
    """With the keys that no longer mean anything."""

    affinity_backend: Backend = "memory"
    affinity_redis_url: str | None = None
    affinity_ttl_s: PositiveFloat = 300
    weight_prefix: NonNegativeFloat = 1.0
    weight_load: NonNegativeFloat = 0.5
    max_inflight_skew: PositiveInt = 8
    tokenizer: Literal["approx", "hf"] = "approx"
    hf_model: str | None = None
    image_key: Literal["bytes_sha256", "url"] = "bytes_sha256"
    cold_fallback: str = "least_busy"


class FirstRouting(Routing):
    """With the keys that no longer mean anything."""

    prefix_kv_aware: FirstPrefixKvAware = Field(default_factory=FirstPrefixKvAware)


class FirstGeneration(Settings):
    """Everything that a file may hold: today's settings and the first generation's."""

    auth: Auth = Field(default_factory=Auth)
    cache: Cache = Field(default_factory=Cache)
    ratelimit: RateLimit = Field(default_factory=RateLimit)
    budget: Budget = Field(default_factory=Budget)
    routing: FirstRouting = Field(default_factory=FirstRouting)


_ESTIMATE = "has no effect; tokens are estimated from bytes, see models[].bytes_per_token"
_SECONDS = "has no effect; waiting and computing are predicted in seconds and compared as such"
_INDEX = "has no effect; each gateway keeps its cache index in memory"
_RETIRED: dict[KeyPath, str] = {
    ("routing", "prefix_kv_aware", "affinity_backend"): _INDEX,
    ("routing", "prefix_kv_aware", "affinity_redis_url"): _INDEX,
    ("routing", "prefix_kv_aware", "affinity_ttl_s"): (
        "has no effect; a prefix is forgotten when the replica evicts it, see max_blocks_per_replica"
    ),
    ("routing", "prefix_kv_aware", "weight_prefix"): _SECONDS,
    ("routing", "prefix_kv_aware", "weight_load"): _SECONDS,
    ("routing", "prefix_kv_aware", "max_inflight_skew"): (
        "has no effect; a busy replica costs what waiting there would"
    ),
    ("routing", "prefix_kv_aware", "tokenizer"): _ESTIMATE,
    ("routing", "prefix_kv_aware", "hf_model"): _ESTIMATE,
    ("routing", "prefix_kv_aware", "image_key"): (
        "has no effect; an inline image is known by the digest of its bytes, a remote one by its URL"
    ),
    ("routing", "prefix_kv_aware", "cold_fallback"): "has no effect; cold prompts are spread by load",
}
_INACTIVE = {
    "cache": "is not active in this version: no response is cached",
    "ratelimit": "is not active in this version: no rate limit is enforced",
}
_SECTIONS = frozenset(FirstGeneration.model_fields) - frozenset(Settings.model_fields)


def retire(values: dict[str, Any], checked: FirstGeneration) -> tuple[Settings, list[Problem]]:
    """The settings without what no longer means anything, and a warning for each such key that was set.

    Args:
        values: what the file says, valid as `checked`.
    """
    warnings = [
        Problem((name,), text) for name, text in _INACTIVE.items() if name in values and getattr(checked, name).enabled
    ]
    for path, text in _RETIRED.items():
        if _has(values, path):
            warnings.append(Problem(path, text))
    return Settings.model_validate(_without_retired(values)), warnings


def _has(values: Any, path: KeyPath) -> bool:
    for step in path:
        if step not in values:
            return False
        values = values[step]
    return True


def _without_retired(section: dict[str, Any], path: KeyPath = ()) -> dict[str, Any]:
    """A copy that has only what `Settings` knows."""
    kept = {}
    for key, value in section.items():
        here = (*path, key)
        if here not in _RETIRED and here[0] not in _SECTIONS:
            kept[key] = _without_retired(value, here) if isinstance(value, dict) else value
    return kept

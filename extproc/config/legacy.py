"""Files of the first generation: every key they knew still loads.

Keys that still mean something are in `settings.py`. Those that do not stand here, so that a mistyped one is still an
unknown key.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from .errors import KeyPath, Problem
from .policies import Backend
from .settings import PrefixKvAware, Routing, Settings


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


def retire(values: dict[str, Any]) -> tuple[Settings, list[Problem]]:
    """The settings without what no longer means anything, and a warning for each such key that was set.

    Args:
        values: what the file says, valid as `FirstGeneration`.
    """
    warnings = [Problem(path, text) for path, text in _RETIRED.items() if _has(values, path)]
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
        if here not in _RETIRED:
            kept[key] = _without_retired(value, here) if isinstance(value, dict) else value
    return kept

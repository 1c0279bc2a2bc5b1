"""Two engines that share one LMCache server, and Redis behind it."""

from __future__ import annotations

import random
from typing import Any

from tests.engine.conftest import Offloading
from tests.envoy.gateway import until

_WORDS = [
    "prefix",
    "block",
    "replica",
    "warm",
    "cold",
    "tenant",
    "token",
    "image",
    "evict",
    "restore",
    "decode",
    "route",
]


async def test_what_one_engine_has_read_the_other_finds_in_lmcache(offloading: Offloading) -> None:
    first, second = offloading.engines
    prompt = story(1, 4000)
    assert cached_tokens(await first.chat(prompt)) == 0

    async def found() -> bool:
        await second.reset_cache()
        return cached_tokens(await second.chat(prompt)) >= 256

    await until(found, lambda: offloading.lmcache.log[-4000:])


async def test_what_lmcache_has_forgotten_comes_back_from_redis(offloading: Offloading) -> None:
    first, second = offloading.engines
    prompt = story(2, 4000)
    await first.chat(prompt)

    async def found() -> bool:
        await offloading.lmcache.clear()
        await second.reset_cache()
        return cached_tokens(await second.chat(prompt)) >= 256

    await until(found, lambda: offloading.lmcache.log[-4000:])


def story(seed: int, words: int) -> str:
    """A text like no other."""
    chosen = random.Random(seed)
    return " ".join(chosen.choice(_WORDS) for _ in range(words))


def cached_tokens(answer: dict[str, Any]) -> int:
    """What the engine says it did not have to compute."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

"""Two engines that share one LMCache server, and Redis behind it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.engine.conftest import Offloading, in_front_of
from tests.engine.engines import Engine
from tests.engine.varied_requests import words
from tests.envoy.gateway import Gateway, until

_STORY_WORDS = 4000
_TIER_TOKENS = 500_000
"""LMCache's 1 GB, at the 2 KiB that a token of the tiny model takes."""
_TIE_S, _TIE_SHARE = 0.020, 0.02
"""Costs that differ by less count as equal."""


async def test_what_one_engine_has_read_the_other_finds_in_lmcache(offloading: Offloading) -> None:
    first, second = offloading.engines
    prompt = story(1)
    assert cached_tokens(await first.chat(prompt)) == 0

    async def found() -> bool:
        await second.reset_cache()
        return cached_tokens(await second.chat(prompt)) >= 256

    await until(found, lambda: offloading.lmcache.log[-4000:])


async def test_what_lmcache_has_forgotten_comes_back_from_redis(offloading: Offloading) -> None:
    first, second = offloading.engines
    prompt = story(2)
    await first.chat(prompt)

    async def found() -> bool:
        await offloading.lmcache.clear()
        await second.reset_cache()
        return cached_tokens(await second.chat(prompt)) >= 256

    await until(found, lambda: offloading.lmcache.log[-4000:])


async def test_a_prompt_that_was_evicted_goes_back_to_where_the_host_keeps_it_exactly_if_that_is_predicted_to_be_best(
    offloading: Offloading, engines: Sequence[Engine]
) -> None:
    home, cold = offloading.engines[0], engines[0]
    stories = [story(seed) for seed in range(10, 34)]
    async with beside(home, cold) as gateway:
        for each in stories:
            await home.chat(each)
        await home.reset_cache()
        await home.chat("again")
        for each in stories:
            await until_restorable(gateway, each)

        alone, *others = stories
        [(replica, receipt, details)] = [await ask(gateway, alone)]
        assert replica == home.name, receipt
        assert receipt["predicted"] == details["cached_tokens"] >= 256
        assert seen(receipt, home)["matched_tokens"] == 0 < seen(receipt, home)["restorable_tokens"]

        answers = await asyncio.gather(*(ask(gateway, each) for each in others))
    went = Counter(replica for replica, _, _ in answers)
    print(f"\n{len(others)} prompts at once that {home.name} restores and {cold.name} computes: {dict(went)}")
    assert set(went) == {home.name, cold.name}, "a queue at home is worth leaving it"
    for replica, receipt, details in answers:
        best, *rest = receipt["replicas"]
        assert best["name"] == replica
        assert all(best["cost"] <= each["cost"] * (1 + _TIE_SHARE) + _TIE_S for each in rest), receipt
        assert (details["cached_tokens"] > 0) == (replica == home.name)


def beside(home: Engine, cold: Engine) -> Gateway:
    """A gateway for an engine with an LMCache behind it and one without."""

    def provider(name: str, engine: Engine, **settings: Any) -> dict[str, Any]:
        address = {"kv_events_url": engine.events_url, "replay_url": engine.replay_url}
        return {"name": name, "replicas": [{"name": engine.name, "url": engine.url, **address}], **settings}

    providers = [
        provider("with", home, host_cache_tokens=_TIER_TOKENS, kv_domain="node"),
        provider("without", cold),
    ]
    model = {"name": home.model, "tokenizer": f".venv-engine/models/{home.model}"}
    model["deployments"] = [{"provider": "with"}, {"provider": "without"}]
    routing = {"prefix_index": "precise", "explain": True}
    return in_front_of([home, cold], providers=providers, models=[model], routing=routing)


async def until_restorable(gateway: Gateway, content: str) -> None:
    """Waits until the gateway knows from the events that somebody's host keeps all of a prompt but its end."""
    found: dict[str, Any] = {}

    async def known() -> bool:
        messages = [{"role": "user", "content": [{"type": "text", "text": content}]}]
        body = {"model": gateway.model, "messages": messages, "max_tokens": 2}
        async with gateway.http.post(f"{gateway.operations_url}/admin/explain", json=body) as response:
            found.update(await response.json())
        receipt = found["receipt"]
        restorable = max(each.get("restorable_tokens", 0) for each in receipt["replicas"])
        return bool(restorable >= receipt["prompt_tokens"] / 2)

    await until(known, lambda: json.dumps(found))


async def ask(gateway: Gateway, content: str) -> tuple[str, dict[str, Any], dict[str, int]]:
    """The replica that served, the decision, and the engine's details of the prompt's tokens."""
    messages = [{"role": "user", "content": [{"type": "text", "text": content}]}]
    body = {"model": gateway.model, "messages": messages, "max_tokens": 2}
    async with gateway.http.post("/v1/chat/completions", json=body, headers={"x-kvgate-explain": "1"}) as response:
        answer = await response.json()
        assert response.status == 200, answer
        receipt = json.loads(response.headers["x-kvgate-receipt"])
        receipt["predicted"] = int(response.headers["x-kvgate-predicted-cached-tokens"])
        return response.headers["x-kvgate-replica"], receipt, answer["usage"]["prompt_tokens_details"]


def seen(receipt: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """What was thought of a replica."""
    return next(each for each in receipt["replicas"] if each["name"] == engine.name)


def story(seed: int) -> str:
    """A text like no other from its first words on."""
    return f"{seed} " + words(random.Random(seed), _STORY_WORDS)


def cached_tokens(answer: dict[str, Any]) -> int:
    """What the engine says it did not have to compute."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

"""Two engines that share one LMCache server, and Redis behind it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

from tests.engine.conftest import Offloading, in_front_of
from tests.engine.engines import Engine
from tests.engine.varied_requests import words
from tests.envoy.gateway import Gateway, until
from tests.envoy.kv_store import keys_of

_STORY_WORDS = 4000
CHUNK_TOKENS = 256
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
        return cached_tokens(await second.chat(prompt)) >= CHUNK_TOKENS

    await until(found, lambda: offloading.lmcache.log[-4000:])


async def test_what_lmcache_has_forgotten_comes_back_from_redis(offloading: Offloading) -> None:
    first, second = offloading.engines
    prompt = story(2)
    await first.chat(prompt)

    async def found() -> bool:
        await offloading.lmcache.clear()
        await second.reset_cache()
        return cached_tokens(await second.chat(prompt)) >= CHUNK_TOKENS

    await until(found, lambda: offloading.lmcache.log[-4000:])


async def test_what_was_evicted_goes_back_to_where_the_host_keeps_it_exactly_while_that_is_predicted_to_be_best(
    offloading: Offloading, engines: Sequence[Engine]
) -> None:
    home, cold = offloading.engines[0], engines[0]
    first, second, third = (story(seed) for seed in range(10, 13))
    async with beside(home, cold) as gateway:
        for each in (first, second, third):
            await home.chat(each)
        await home.reset_cache()
        await home.chat("again")
        for each in (first, second, third):
            await until_restorable(gateway, each)
        replica, predicted, cached = await ask(gateway, first)
        assert (replica, predicted) == (home.name, cached), "the idle home restores it sooner than another computes it"
        assert cached >= CHUNK_TOKENS

        home.pause()
        try:
            stuck = asyncio.create_task(ask(gateway, second, stream=True))
            receipts = [await explain(gateway, third)]

            async def elsewhere() -> bool:
                receipts.append(await explain(gateway, third))
                return bool(receipts[-1]["replica"] == cold.name)

            await until(elsewhere, lambda: f"{home.name} stands still, and is still preferred: {receipts[-1]}")
            assert await ask(gateway, third) == (cold.name, 0, 0)
        finally:
            home.resume()
        assert (await stuck)[0] == home.name
    assert receipts[0]["replica"] == home.name
    for receipt in receipts:
        best, other = receipt["replicas"]
        assert best["cost"] <= other["cost"] * (1 + _TIE_SHARE) + _TIE_S, receipt
    home_s, cold_s = (ttft_s(receipts[-1], each) for each in (home, cold))
    print(f"\nleft after {len(receipts)} looks: predicted {home_s:.2f} s at home, {cold_s:.2f} s where it is cold")
    assert cold_s < home_s


async def test_what_only_redis_keeps_is_expected_from_there_once_it_is_known_how_fast(offloading: Offloading) -> None:
    first, second = offloading.engines
    provider = {"remote_cache_tokens": _TIER_TOKENS}
    learned: list[tuple[int, int]] = []
    async with in_front_of([first, second], precise=True, provider=provider) as gateway:
        for seed in range(30, 42):
            await ask(gateway, story(seed), stream=True)
            await until_in_redis(offloading)
            await offloading.lmcache.clear()
            for engine in (first, second):
                await engine.reset_cache()
                await engine.chat("again")
            await until_cold(gateway, story(seed))
            _, predicted, cached = await ask(gateway, story(seed) + " And then?", stream=True)
            assert cached >= CHUNK_TOKENS, "Redis has it"
            learned.append((predicted, cached))
    print(f"\npredicted and cached, from Redis alone: {learned}")
    for predicted, cached in learned[-3:]:
        assert abs(predicted - cached) <= CHUNK_TOKENS, "nobody tells what Redis holds: it is believed, by chunks"


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
    routing = {"prefix_index": "precise"}
    return in_front_of([home, cold], providers=providers, models=[model], routing=routing)


async def until_restorable(gateway: Gateway, content: str) -> None:
    """Waits until it is known from the events that a host keeps most of a prompt, and that no engine does."""
    receipts: list[dict[str, Any]] = []

    async def known() -> bool:
        receipts.append(await explain(gateway, content))
        found = receipts[-1]["replicas"]
        restorable = max(each.get("restorable_tokens", 0) for each in found)
        kept = max(each["matched_tokens"] for each in found)
        return bool(restorable >= receipts[-1]["prompt_tokens"] / 2 and kept < CHUNK_TOKENS)

    await until(known, lambda: json.dumps(receipts[-1]))


async def until_cold(gateway: Gateway, content: str) -> None:
    """Waits until it is known from the events that no engine keeps a prompt."""

    async def cold() -> bool:
        return max(each["matched_tokens"] for each in (await explain(gateway, content))["replicas"]) < CHUNK_TOKENS

    await until(cold, lambda: f"engines still have it: {gateway.log[-2000:]}")


async def until_in_redis(offloading: Offloading) -> None:
    """Waits until LMCache has written all it was given."""
    sizes: list[int] = []

    async def written() -> bool:
        sizes.append(len(await keys_of(offloading.redis)))
        await asyncio.sleep(0.1)
        return len(sizes) > 5 and len(set(sizes[-5:])) == 1

    await until(written, lambda: f"{sizes} keys")


async def explain(gateway: Gateway, content: str) -> dict[str, Any]:
    """Where it would go now, and why."""
    async with gateway.http.post(f"{gateway.operations_url}/admin/explain", json=body(gateway, content)) as response:
        receipt: dict[str, Any] = (await response.json())["receipt"]
        return receipt


async def ask(gateway: Gateway, content: str, **fields: Any) -> tuple[str, int, int]:
    """The replica that served, what was predicted to be cached there, and what was."""
    usage = {"stream_options": {"include_usage": True}} if fields.get("stream") else {}
    async with gateway.post(body(gateway, content, **fields, **usage)) as response:
        text = await response.text()
        assert response.status == 200, text
        predicted = int(response.headers["x-kvgate-predicted-cached-tokens"])
        if fields.get("stream"):
            *_, last, _ = (line for line in text.splitlines() if line.startswith("data: "))
            text = last.removeprefix("data: ")
        return response.headers["x-kvgate-replica"], predicted, cached_tokens(json.loads(text))


def body(gateway: Gateway, content: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"type": "text", "text": content}]}]
    return {"model": gateway.model, "messages": messages, "max_tokens": 2, **fields}


def ttft_s(receipt: dict[str, Any], engine: Engine) -> float:
    """What was predicted of a replica."""
    return float(next(each["ttft_s"] for each in receipt["replicas"] if each["name"] == engine.name))


def story(seed: int) -> str:
    """A text like no other from its first words on."""
    return f"{seed} " + words(random.Random(seed), _STORY_WORDS)


def cached_tokens(answer: dict[str, Any]) -> int:
    """What the engine says it did not have to compute."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

"""A gateway in front of two real vLLM engines: it serves, finds what is warm, and outlives the death of an engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.engine.engines import Engine
from tests.envoy.gateway import Gateway, until
from tests.envoy.media import image_part

STORY = "The gateway remembers which replica has read which story. " * 60
IMAGE_TOKENS = 664
"""Of a picture of 300 x 300 pixels."""


async def test_text_is_answered_with_the_engines_own_usage(gateway: Gateway) -> None:
    answer = await gateway.openai.chat.completions.create(
        model="tiny-llava", max_tokens=6, messages=[{"role": "user", "content": STORY}]
    )
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage
    assert answer.usage.prompt_tokens > 300
    assert answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


async def test_an_image_is_answered(gateway: Gateway) -> None:
    usage = await usage_of(await gateway.chat(image_part(1, 300), "What is this?"))
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": IMAGE_TOKENS}


async def test_an_image_is_answered_as_a_stream(gateway: Gateway) -> None:
    stream = await gateway.openai.chat.completions.create(
        model="tiny-llava",
        max_tokens=6,
        messages=[{"role": "user", "content": [image_part(2, 300), {"type": "text", "text": "Go on."}]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] in ("length", "stop")
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens > IMAGE_TOKENS


async def test_a_prompt_comes_back_to_where_it_is_warm(gateway: Gateway) -> None:
    for content in ((STORY + "text",), (image_part(3, 300), STORY + "image")):
        first, again = await gateway.chat(*content), await gateway.chat(*content)
        assert (await usage_of(first))["prompt_tokens_details"]["cached_tokens"] == 0
        assert again.headers["x-kvgate-replica"] == first.headers["x-kvgate-replica"]
        assert int(again.headers["x-kvgate-predicted-cached-tokens"]) > 0
        assert (await usage_of(again))["prompt_tokens_details"]["cached_tokens"] > 0


async def test_different_images_are_spread_over_the_engines_and_each_stays_where_it_is(gateway: Gateway) -> None:
    homes = {seed: await home(gateway, image_part(seed, 300)) for seed in range(10, 18)}
    assert set(homes.values()) == set(gateway.replicas)
    assert {seed: await home(gateway, image_part(seed, 300)) for seed in homes} == homes


async def test_the_size_of_each_engines_cache_is_read_from_its_metrics(
    gateway: Gateway, engines: Sequence[Engine]
) -> None:
    expected = {engine.name: float(engine.capacity_tokens) for engine in engines}

    async def known() -> bool:
        return await capacities(gateway) == expected

    await until(known, lambda: gateway.log[-4000:])


async def test_the_engine_counts_the_hits_that_the_gateway_made(gateway: Gateway, engines: Sequence[Engine]) -> None:
    before = [await engine.metrics() for engine in engines]
    await gateway.chat(STORY + "counted")
    usage = await usage_of(await gateway.chat(STORY + "counted"))
    after = [await engine.metrics() for engine in engines]
    name = "vllm:prefix_cache_hits_total"
    assert (
        sum(now[name] - then[name] for now, then in zip(after, before, strict=True))
        == usage["prompt_tokens_details"]["cached_tokens"]
        > 0
    )


async def test_no_blocking_request_fails_when_an_engine_is_killed_and_it_serves_again_after_its_return(
    gateway: Gateway, engines: Sequence[Engine]
) -> None:
    victim = engines[0]
    turns = itertools.count()
    statuses: list[int] = []
    enough = asyncio.Event()

    async def ask() -> None:
        while not enough.is_set():
            answer = await gateway.chat(f"{next(turns)} {STORY}", max_tokens=32)
            statuses.append(answer.status)

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    await until(lambda: len(statuses) >= 8, lambda: f"only {len(statuses)} answers")

    async def busy() -> bool:
        return (await victim.metrics())["vllm:num_requests_running"] > 0

    await until(busy, lambda: f"{victim.name} has nothing to do")
    victim.kill()
    answered = len(statuses)
    await until(lambda: len(statuses) >= answered + 8, lambda: f"{len(statuses) - answered} answers since the kill")
    enough.set()
    await asyncio.gather(*clients)
    assert set(statuses) == {200}

    await victim.start()

    async def serves() -> bool:
        return await home(gateway, f"{next(turns)} {STORY}") == victim.name

    await until(serves, lambda: f"{victim.name} never served again")


async def usage_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The usage of a blocking answer that was read whole."""
    assert answer.status == 200, await answer.text()
    usage: dict[str, Any] = (await answer.json())["usage"]
    return usage


async def home(gateway: Gateway, *content: Any) -> str:
    """The replica that answered."""
    answer = await gateway.chat(*content)
    assert answer.status == 200
    return answer.headers["x-kvgate-replica"]


async def capacities(gateway: Gateway) -> dict[str, float]:
    """What the gateway believes of each replica's KV cache, in tokens."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        page = await response.text()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    family = families.get("kvgate_replica_capacity_tokens")
    return {sample.labels["replica"]: sample.value for sample in family.samples} if family else {}

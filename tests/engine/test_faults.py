"""What may befall real engines and their events in precise mode: no request fails, and what is predicted is true."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from tests.engine.conftest import Offloading, in_front_of
from tests.engine.cut_proxy import CutProxy
from tests.engine.engines import Engine
from tests.engine.varied_requests import picture, words
from tests.envoy.gateway import Gateway, until
from tests.envoy.media import image_part

_RING = 8
"""Batches that an engine with a short memory sends again."""


class Served(NamedTuple):
    """One answer."""

    replica: str
    predicted: int
    cached: int


async def ask(gateway: Gateway, *content: Any, **fields: Any) -> Served:
    answer = await gateway.chat(*content, **fields)
    assert answer.status == 200, await answer.text()
    details = (await answer.json())["usage"]["prompt_tokens_details"]
    headers = answer.headers
    return Served(
        headers["x-kvgate-replica"], int(headers["x-kvgate-predicted-cached-tokens"]), details["cached_tokens"]
    )


def story(seed: int) -> str:
    """Some four hundred tokens, other than those of any other seed from the first on."""
    return f"{seed} " + words(random.Random(seed), 300)


async def metric(gateway: Gateway, sample: str) -> float:
    """Of the gateway's own page; 0 if it is not there."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " ")), 0.0)


async def until_feed_is(gateway: Gateway, engine: Engine, state: str) -> None:
    sample = f'kvgate_kv_events_state{{replica="{engine.name}",state="{state}"}}'

    async def so() -> bool:
        return await metric(gateway, sample) == 1

    await until(so, lambda: f"{engine.name} is never {state}: {gateway.log[-4000:]}")


async def until_true(gateway: Gateway, *content: Any) -> Served:
    """Asks until the prompt is cached and predicted so: events come a little after the answers."""
    found: list[Served] = []

    async def so() -> bool:
        found.append(await ask(gateway, *content))
        return found[-1].predicted == found[-1].cached > 0

    await until(so, lambda: f"{found[-5:]}")
    return found[-1]


async def under_load(gateway: Gateway, prompts: Callable[[], str], fault: Callable[[], Awaitable[None]]) -> list[int]:
    """Has four clients ask while something happens, and a while longer; the statuses of all answers."""
    statuses: list[int] = []
    enough = asyncio.Event()

    async def client() -> None:
        while not enough.is_set():
            statuses.append((await gateway.chat(prompts(), max_tokens=16)).status)

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await until(lambda: len(statuses) >= 8, lambda: f"only {len(statuses)} answers")
    await fault()
    before = len(statuses)
    await until(lambda: len(statuses) >= before + 8, lambda: f"{len(statuses) - before} answers since")
    enough.set()
    await asyncio.gather(*clients)
    return statuses


async def test_after_a_kill_nothing_stale_is_predicted_and_soon_all_is_known_again(engines: Sequence[Engine]) -> None:
    victim, turns = engines[0], itertools.count()
    async with in_front_of(engines, precise=True) as gateway:
        stories = [story(seed) for seed in range(8)]
        homes = [(await ask(gateway, each)).replica for each in stories]
        assert victim.name in homes

        async def kill() -> None:
            async def busy() -> bool:
                return (await victim.metrics())["vllm:num_requests_running"] > 0

            await until(busy, lambda: f"{victim.name} has nothing to do")
            victim.kill()

        assert set(await under_load(gateway, lambda: story(next(turns) % 12), kill)) == {200}
        await until_feed_is(gateway, victim, "down")
        await victim.start()
        await until_feed_is(gateway, victim, "whole")
        for each in stories:
            served = await ask(gateway, each)
            assert served.predicted == served.cached

        async def serves() -> bool:
            return (await until_true(gateway, story(100 + next(turns)))).replica == victim.name

        await until(serves, lambda: f"{victim.name} never served again")


async def test_what_was_published_while_the_connection_was_cut_is_replayed(engines: Sequence[Engine]) -> None:
    engine, *_ = engines
    async with (
        CutProxy(engine.events_port) as proxy,
        in_front_of(engines[:1], precise=True, events={engine.name: proxy.url}) as gateway,
    ):
        await until_feed_is(gateway, engine, "whole")
        await proxy.cut()
        await until_feed_is(gateway, engine, "down")
        for seed in range(200, 204):
            await engine.chat(story(seed))
        proxy.mend()
        await until_feed_is(gateway, engine, "whole")
        for seed in range(200, 204):
            served = await ask(gateway, story(seed))
            assert served.predicted == served.cached > 0


async def test_more_than_the_ring_holds_leaves_a_part_and_another_block_size_is_followed() -> None:
    engine = Engine(name="short-memory", buffer_steps=_RING, blocks=160)
    async with (
        engine,
        CutProxy(engine.events_port) as proxy,
        in_front_of([engine], precise=True, events={engine.name: proxy.url}) as gateway,
    ):
        await until_true(gateway, story(300))
        await until_feed_is(gateway, engine, "whole")
        await proxy.cut()
        await until_feed_is(gateway, engine, "down")
        for seed in range(301, 301 + 2 * _RING):
            await engine.chat(story(seed))
        proxy.mend()
        await until_feed_is(gateway, engine, "partial")
        latest = await ask(gateway, story(300 + 2 * _RING))
        assert latest.predicted == latest.cached > 0, "what the ring still held is known"
        await ask(gateway, story(301))
        await engine.reset_cache()
        await ask(gateway, "a prompt that fills no block")
        await until_feed_is(gateway, engine, "whole")
        served = await ask(gateway, story(300))
        assert served.predicted == served.cached == 0
        await until_true(gateway, story(300))

        engine.kill()
        await until_feed_is(gateway, engine, "down")
        algorithm = ("--prefix-caching-hash-algo", "sha256_cbor")
        async with Engine(name=engine.name, ports=engine.ports, block_size=64, blocks=320, extra=algorithm) as upgraded:
            await until_feed_is(gateway, upgraded, "whole")
            assert (await ask(gateway, story(300))).predicted == 0
            for content in ((story(300),), (image_part(300, 300), story(301)), (story(302), story(303))):
                served = await until_true(gateway, *content)
                assert served.cached % 64 == 0


async def test_an_image_that_only_the_engine_can_read_is_served_and_counted(engines: Sequence[Engine]) -> None:
    bitmap = picture(random.Random(4), (300, 300), ("BMP", "RGB"))
    async with in_front_of(engines, precise=True) as gateway:
        sample = f'kvgate_prompts_tokenised_total{{model="{gateway.model}",outcome="unknown_image"}}'
        first, again = [await ask(gateway, bitmap, "What is this?") for _ in range(2)]
        assert first.cached == 0 < again.cached
        assert again.replica == first.replica
        assert await metric(gateway, sample) == 2


async def test_what_an_engine_was_asked_past_the_gateway_is_known_and_routed_to(engines: Sequence[Engine]) -> None:
    async with in_front_of(engines, precise=True) as gateway:
        for engine in engines:
            await until_feed_is(gateway, engine, "whole")
        for number, engine in enumerate([*engines, *engines]):
            content = (image_part(400 + number, 300), story(400 + number)) if number % 2 else (story(400 + number),)
            await engine.chat(*content)
            served = await until_true(gateway, *content)
            assert served.replica == engine.name


async def test_no_request_fails_when_lmcache_dies(offloading: Offloading) -> None:
    turns = itertools.count()
    provider = {"host_cache_tokens": 500_000, "kv_domain": "node"}
    async with in_front_of(offloading.engines, precise=True, provider=provider) as gateway:

        async def kill() -> None:
            offloading.lmcache.kill()

        assert set(await under_load(gateway, lambda: story(500 + next(turns) % 12), kill)) == {200}
        await until_true(gateway, story(500))
    await offloading.lmcache.start()

"""LMCache's second level behind the listener: KV goes to Redis and comes back, the store grows, a server dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
import pytest
import pytest_asyncio

from tests.engine.engines import Engine, LMCacheServer
from tests.engine.varied_requests import words
from tests.envoy.gateway import Gateway, until
from tests.envoy.kv_store import gateway, keys_of, set_servers
from tests.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "tiny-llama"
CHUNK_TOKENS = 256


@dataclass
class Tier:
    """An engine, its LMCache, the listener, and the two servers behind it."""

    engine: Engine
    lmcache: LMCacheServer
    gateway: Gateway
    servers: tuple[RedisServer, RedisServer]
    dead: list[RedisServer] = field(default_factory=list)
    _chunks: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    async def ask(self, prompt: str) -> int:
        """Tokens of the prompt that were in some cache."""
        body = {"model": MODEL, "prompt": prompt, "max_tokens": 1}
        async with (
            aiohttp.ClientSession(self.engine.url, timeout=aiohttp.ClientTimeout(60)) as http,
            http.post("/v1/completions", json=body) as response,
        ):
            assert response.status == 200, await response.text()
            usage = (await response.json())["usage"]
            self._chunks[prompt] = usage["prompt_tokens"] // CHUNK_TOKENS
            details = usage["prompt_tokens_details"]
            return int(details["cached_tokens"]) if details else 0

    async def forget(self) -> None:
        """Leaves nothing in the engine and in LMCache's memory."""
        await self.engine.reset_cache()
        await self.lmcache.clear()

    async def until_written(self) -> None:
        """Waits until every chunk of what was asked so far has been kept by a server."""

        async def written() -> bool:
            self._seen |= await self.kept()
            return len(self._seen) >= sum(self._chunks.values())

        await until(written, lambda: f"{len(self._seen)} chunks of {self._chunks.values()}: {self.lmcache.log[-3000:]}")

    async def until_healthy(self, count: int) -> None:
        """Waits until so many servers get keys: what is written before they do is a miss afterwards."""
        sample = f'membership_healthy{{envoy_cluster_name="kvgate-kv-store"}} {count}'

        async def so_many() -> bool:
            async with self.gateway.http.get(f"{self.gateway.operations_url}/metrics/envoy") as response:
                return sample in await response.text()

        await until(so_many, lambda: f"not {count} healthy servers")

    async def kept(self) -> set[str]:
        found: set[str] = set()
        for server in self.servers:
            if server not in self.dead:
                found |= await keys_of(server)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tier() -> AsyncIterator[Tier]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(RedisServer()) for _ in range(2)]
        running, port = await stack.enter_async_context(gateway(servers[0], read_commands=True))
        lmcache = await stack.enter_async_context(LMCacheServer(redis=("127.0.0.1", port)))
        engine = await stack.enter_async_context(Engine(MODEL, name="vllm-kv-store", lmcache=lmcache))
        yield Tier(engine, lmcache, running, (servers[0], servers[1]))


def prompts(seed: int, count: int = 4) -> list[str]:
    chance = random.Random(seed)
    return [words(chance, 1000) for _ in range(count)]


async def test_kv_comes_back_from_redis_through_the_listener_and_the_store_grows_under_it(tier: Tier) -> None:
    first, second = prompts(1), prompts(2)
    assert [await tier.ask(prompt) for prompt in first] == [0] * len(first)
    await tier.until_written()
    await tier.forget()
    for prompt in first:
        assert await tier.ask(prompt) >= 3 * CHUNK_TOKENS

    set_servers(tier.gateway, *tier.servers)
    await tier.until_healthy(2)
    for prompt in second:
        await tier.ask(prompt)
    await tier.until_written()
    assert await keys_of(tier.servers[1]), "the new server keeps its share"
    await tier.forget()
    for prompt in second:
        assert await tier.ask(prompt) >= 3 * CHUNK_TOKENS


async def test_a_server_that_died_between_requests_costs_its_share_and_no_request(tier: Tier) -> None:
    before, after = prompts(3), prompts(4)
    for prompt in before:
        await tier.ask(prompt)
    await tier.until_written()
    tier.servers[1].kill()
    tier.dead.append(tier.servers[1])
    await tier.forget()
    await tier.until_healthy(1)
    assert set(await asyncio.gather(*map(tier.ask, after))) == {0}
    await tier.until_written()
    await tier.forget()
    for prompt in after:
        assert await tier.ask(prompt) >= 3 * CHUNK_TOKENS, "the server that is left keeps all of it"
    for prompt in before:
        await tier.ask(prompt)

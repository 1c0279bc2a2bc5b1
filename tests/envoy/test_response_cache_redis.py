"""Two gateways and one Redis: answers are shared while it is there, and requests go on while it is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.envoy.answers import Got, ask, chat, fresh, upstream
from tests.envoy.gateway import Gateway, until
from tests.redis_server import RedisServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(redis: RedisServer) -> AsyncIterator[list[Gateway]]:
    shared = {"backend": "redis", "redis_url": redis.url}
    gateways = [
        Gateway(
            replicas=1,
            provider={"tokens_per_second": 10_000},
            cache=shared,
            ratelimit={**shared, "default_rpm": 1_000_000, "burst": 100_000},
            budget={**shared, "enabled": True, "default_usd": 100},
        )
        for _ in range(2)
    ]
    async with AsyncExitStack() as stack:
        running = await asyncio.gather(*(stack.enter_async_context(gateway) for gateway in gateways))
        yield running
        for gateway in running:
            assert "Traceback" not in gateway.log
            assert "routed blind" not in gateway.log


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_that_one_gateway_stored_is_given_by_the_other(pair: list[Gateway]) -> None:
    body = chat(fresh())
    first = await ask(pair[0], body)
    again = await ask(pair[1], {**body, "stream": True})
    assert (first.cache, again.cache) == ("miss", "exact")
    assert first.said == again.said


async def test_a_hundred_equal_requests_to_two_gateways_are_one_request_to_the_fleet(pair: list[Gateway]) -> None:
    prompt = fresh()
    before = sum([await upstream(gateway) for gateway in pair])
    bodies = [chat(prompt, stream=number % 4 == 0, max_tokens=100) for number in range(100)]
    got = await asyncio.gather(*(ask(pair[number % 2], body) for number, body in enumerate(bodies)))
    assert Counter(each.cache for each in got) == {"miss": 1, "exact": 99}
    assert sum([await upstream(gateway) for gateway in pair]) == before + 1


async def test_requests_go_on_while_redis_is_killed_and_started_again(pair: list[Gateway], redis: RedisServer) -> None:
    async with Load(pair) as load:
        await load.more(30)
        redis.kill()
        await load.more(100)
        redis.start()
        await until(lambda: _share_again(pair), lambda: pair[0].log[-2000:])
        await load.more(30)
    assert load.statuses == {200}


async def test_requests_go_on_while_redis_does_not_answer(pair: list[Gateway], redis: RedisServer) -> None:
    async with Load(pair) as load:
        await load.more(30)
        redis.pause()
        await load.more(100)
        equal = await asyncio.gather(*(ask(pair[0], chat("while it is away", max_tokens=50)) for _ in range(20)))
        assert {each.status for each in equal} == {200}
        redis.resume()
        await until(lambda: _share_again(pair), lambda: pair[0].log[-2000:])
        await load.more(30)
    assert load.statuses == {200}


async def test_equal_requests_at_one_gateway_are_one_while_redis_is_away(
    pair: list[Gateway], redis: RedisServer
) -> None:
    redis.kill()
    before, body = await upstream(pair[0]), chat(fresh(), max_tokens=2000)
    await asyncio.gather(*(ask(pair[0], body) for _ in range(50)))
    assert await upstream(pair[0]) == before + 1
    redis.start()
    await until(lambda: _share_again(pair), lambda: pair[0].log[-2000:])


async def _share_again(pair: list[Gateway]) -> bool:
    body = chat(fresh())
    first, second = [await ask(gateway, body) for gateway in pair]
    return (first.cache, second.cache) == ("miss", "exact")


class Load:
    """Clients that keep asking until the end of the context: new prompts, and one that all share."""

    def __init__(self, pair: list[Gateway]) -> None:
        self._pair = pair
        self._got: list[Got] = []
        self._over = False

    async def __aenter__(self) -> Load:
        self._clients = [asyncio.create_task(self._client(number)) for number in range(8)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._clients)

    @property
    def statuses(self) -> set[int]:
        """Of all replies so far."""
        return {got.status for got in self._got}

    async def more(self, requests: int) -> None:
        """Until so many more have been answered."""
        target = len(self._got) + requests
        await until(lambda: len(self._got) >= target, lambda: f"{len(self._got)} of {target} answered")

    async def _client(self, number: int) -> None:
        while not self._over:
            prompt = fresh() if number % 2 else "What does everybody ask?"
            self._got.append(await ask(self._pair[number % len(self._pair)], chat(prompt)))

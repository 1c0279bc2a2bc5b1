"""Two gateways that share one Redis: limits and budgets are of both together, and outlive a processor and Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.envoy.gateway import Gateway, until
from tests.envoy.tenants import (
    COST_USD,
    Priced,
    ask,
    fleet_of,
    key,
    metrics,
    priced_engine,
    sdk,
    until_served,
    until_spent,
)
from tests.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    key("early"),
    key("hasty", rpm=1),
    key("shared", budget_usd=1.5 * COST_USD),
    key("lasting", budget_usd=1.5 * COST_USD),
    key("underway", budget_usd=10),
    key("busy", budget_usd=1000),
    key("anyone"),
]


@dataclass
class Pair:
    """Two gateways, started while Redis was away.

    Attributes:
        unshared: the status of a request to each at that time.
    """

    redis: RedisServer
    replies: Priced
    first: Gateway
    second: Gateway
    unshared: list[int] = field(default_factory=list)

    async def until_redis_answers(self, before: dict[Gateway, int]) -> None:
        """Waits until both have noticed, asking meanwhile, since nobody looks for Redis who does not need it."""
        for gateway, times in before.items():

            async def noticed(gateway: Gateway = gateway, times: int = times) -> bool:
                await ask(gateway, "anyone")
                return gateway.log.count("Redis answers again") > times

            await until(noticed, lambda: f"Redis answers again; log:\n{self.first.log[-3000:]}")

    def recoveries(self) -> dict[Gateway, int]:
        """How often each has found Redis again."""
        return {each: each.log.count("Redis answers again") for each in (self.first, self.second)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    engine, replies = priced_engine()
    await engine.start()
    try:
        async with RedisServer(started=False) as redis:
            shared = {"backend": "redis", "redis_url": redis.url}
            gateways = [
                Gateway(
                    auth={"enabled": True, "api_keys": KEYS},
                    ratelimit={**shared, "default_rpm": 6_000_000, "burst": 100},
                    budget={**shared, "enabled": True},
                    **fleet_of(engine),
                )
                for _ in range(2)
            ]
            started = await asyncio.gather(*(each.__aenter__() for each in gateways), return_exceptions=True)
            try:
                assert started == gateways
                for each in gateways:
                    await until_served(each, "anyone")
                running = Pair(redis, replies, gateways[0], gateways[1])
                running.unshared += [(await ask(each, "early")).status for each in gateways]
                before = running.recoveries()
                await asyncio.to_thread(redis.start)
                await running.until_redis_answers(before)
                yield running
            finally:
                replies.let_go.set()
                await asyncio.gather(*(each.__aexit__(None, None, None) for each in gateways if each in started))
    finally:
        await engine.stop()


async def test_without_redis_from_the_start_requests_are_served(pair: Pair) -> None:
    assert pair.unshared == [200, 200]


async def test_what_was_spent_while_redis_was_away_is_counted_once_it_is_there(pair: Pair) -> None:
    assert (await ask(pair.first, "early")).status == 200
    await settled_in_redis(pair, "early", 3 * COST_USD)


async def test_two_gateways_share_a_rate_limit(pair: Pair) -> None:
    assert (await ask(pair.first, "hasty")).status == 200
    refused = await ask(pair.second, "hasty")
    assert (refused.status, refused.headers["x-ratelimit-limit"]) == (429, "1")
    assert 30 < int(refused.headers["retry-after"]) <= 60


async def test_two_gateways_share_a_budget(pair: Pair) -> None:
    for count, gateway in enumerate((pair.first, pair.second), 1):
        assert (await ask(gateway, "shared")).status == 200
        await until_spent(gateway, "shared", count * COST_USD)
    await settled_in_redis(pair, "shared", 2 * COST_USD)
    for gateway in (pair.first, pair.second):
        assert (await ask(gateway, "shared")).status == 402


async def test_what_was_spent_outlives_the_processor(pair: Pair) -> None:
    gateway = pair.first
    for count in (1, 2):
        assert (await ask(gateway, "lasting")).status == 200
        await until_spent(gateway, "lasting", count * COST_USD)
    await settled_in_redis(pair, "lasting", 2 * COST_USD)
    gateway.kill("serve")
    await until_served(gateway, "anyone")
    assert (await ask(gateway, "lasting")).status == 402


async def test_a_stream_that_outlives_its_processor_is_billed_by_the_next_one(pair: Pair) -> None:
    gateway = pair.first
    pair.replies.holding.clear()
    pair.replies.let_go.clear()
    stream = await sdk(gateway, "underway").chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        extra_body={"engine": {"hold": True}},
    )
    await pair.replies.holding.wait()
    gateway.kill("serve")
    await until_served(gateway, "anyone")
    pair.replies.let_go.set()
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    await until_spent(gateway, "underway", COST_USD)


async def test_redis_may_die_and_come_back_empty_under_load(pair: Pair) -> None:
    done, before = asyncio.Event(), pair.recoveries()
    statuses: list[int] = []

    async def load(gateway: Gateway) -> None:
        while not done.is_set():
            statuses.append((await ask(gateway, "busy")).status)

    workers = [asyncio.create_task(load(each)) for each in (pair.first, pair.second) for _ in range(3)]
    lost = {each: each.log.count("Redis does not answer") for each in before}
    pair.redis.kill()
    for gateway, times in lost.items():
        await gateway.until_logged("Redis does not answer", times=times + 1)
    served = len(statuses)
    await until(lambda: len(statuses) > served + 20, lambda: f"requests go on without Redis: {len(statuses)}")
    await asyncio.to_thread(pair.redis.start)
    await pair.until_redis_answers(before)
    served = len(statuses)
    await until(lambda: len(statuses) > served + 20, lambda: f"requests go on with Redis: {len(statuses)}")
    done.set()
    await asyncio.gather(*workers)
    assert set(statuses) == {200}
    await settled_in_redis(pair, "busy", len(statuses) * COST_USD)
    for gateway in (pair.first, pair.second):
        assert "Traceback" not in gateway.log
        assert len(re.findall("Redis does not answer", gateway.log)) <= 6, "told of once, not once a request"
        assert "kvgate_step_seconds" in await metrics(gateway)


async def settled_in_redis(pair: Pair, tenant: str, usd: float) -> None:
    """Waits until Redis itself has just so much: what an instance that starts now would find."""

    async with Redis.from_url(pair.redis.url) as redis:

        async def there() -> bool:
            return int(await redis.hget(f"kvgate:{{{tenant}}}:tenant", "s") or 0) == round(usd * 1e9)

        await until(there, lambda: f"Redis knows that {tenant} spent {usd} USD; log:\n{pair.first.log[-3000:]}")

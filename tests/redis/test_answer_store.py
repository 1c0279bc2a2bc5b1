"""Answers in a real Redis, shared by instances, which may be slow, gone or full of somebody else's bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import orjson
import pytest

from extproc.caching.answer import Answer
from extproc.caching.exact import ExactCache, ExactSettings, Hit
from extproc.caching.lead import Lead
from extproc.caching.redis_store import RedisStore
from extproc.caching.store import Epoch
from extproc.clock import MonotonicClock
from extproc.redis_link import RedisLink, StoreDown
from tests.redis_server import RedisServer
from tests.unit.caching_replies import CHAT, CHAT_REPLIES, answer, ask, chat_reply

REPLY = CHAT_REPLIES["text"]
ANSWER = answer(CHAT, REPLY)
KEY = b"k" * 32
START = Epoch()


class Instance:
    """One gateway: its link, its store, its cache."""

    def __init__(self, url: str, wait_s: float, timeout_s: float, renew_s: float) -> None:
        self.link = RedisLink(url, MonotonicClock(), timeout_s=timeout_s)
        self.store = RedisStore(self.link, max_answer_bytes=100_000, max_waiting_bytes=300_000, renew_s=renew_s)
        settings = ExactSettings(wait_s=wait_s, poll_s=0.01)
        self.cache = ExactCache(self.store, MonotonicClock(), settings, leases=self.store)

    async def look_up(self) -> Hit | Lead:
        looked_up = await self.cache.look_up(ask(temperature=0), "t")
        assert isinstance(looked_up, (Hit, Lead))
        return looked_up

    async def lead(self) -> Lead:
        looked_up = await self.look_up()
        assert isinstance(looked_up, Lead)
        return looked_up

    async def found(self, key: bytes = KEY, scope: str = "t") -> Answer | None:
        found = await self.store.get(key, scope)
        assert found is not None
        return found.answer

    async def put(self, key: bytes = KEY, scope: str = "t", stored: Answer = ANSWER, ttl_s: float = 60) -> None:
        found = await self.store.get(key, scope)
        self.store.put(key, scope, stored, ttl_s, found.epoch if found else START)
        await self.store.written()


@asynccontextmanager
async def instance(
    url: str, wait_s: float = 20.0, timeout_s: float = 5.0, renew_s: float = 1.0
) -> AsyncIterator[Instance]:
    one = Instance(url, wait_s, timeout_s, renew_s)
    writing = asyncio.create_task(one.store.run())
    try:
        yield one
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        await one.link.close()


@pytest.fixture
async def gateway(redis: RedisServer) -> AsyncIterator[Instance]:
    async with instance(redis.url) as one:
        yield one


@pytest.fixture
async def other(redis: RedisServer) -> AsyncIterator[Instance]:
    async with instance(redis.url) as one:
        yield one


def finish(lead: Lead) -> None:
    lead.feed(orjson.dumps(REPLY))
    assert lead.finish() is not None


async def test_an_answer_of_one_instance_is_found_by_another(gateway: Instance, other: Instance) -> None:
    assert await other.found() is None
    await gateway.put()
    assert await other.found() == ANSWER
    stats = other.store.stats()
    assert (stats.hits, stats.misses) == (1, 1)


async def test_an_answer_lapses_in_redis_itself(gateway: Instance) -> None:
    await gateway.put(ttl_s=40)
    remaining_ms = await gateway.link.client.pttl(b"kvgate:answer:" + KEY.hex().encode())
    assert 30_000 < remaining_ms <= 40_000


async def test_a_look_up_is_one_command(gateway: Instance) -> None:
    async def commands() -> int:
        return int((await gateway.link.client.info("stats"))["total_commands_processed"])

    await gateway.found()
    before = await commands()
    await gateway.found()
    assert await commands() - before == 2  # the look-up, and the question itself


async def test_a_flush_of_one_scope_is_seen_by_all_instances_at_once(gateway: Instance, other: Instance) -> None:
    await gateway.put()
    await gateway.put(b"l" * 32, "u")
    await other.cache.flush("t")
    assert await gateway.found() is None
    assert await gateway.found(b"l" * 32, "u") == ANSWER
    await gateway.put()
    assert await other.found() == ANSWER
    await other.cache.flush()
    assert await gateway.found(b"l" * 32, "u") is None


async def test_what_was_under_way_during_a_flush_does_not_outlive_it(gateway: Instance, other: Instance) -> None:
    lead = await gateway.lead()
    await other.cache.flush("t")
    finish(lead)
    await gateway.store.written()
    assert isinstance(await other.look_up(), Lead)


@pytest.mark.parametrize("garbage", [b"", b"x", b"\0" * 16, b"\0" * 16 + b"\x01" * 99, b'{"choices": []}' * 9])
async def test_garbage_in_redis_is_a_miss(gateway: Instance, garbage: bytes) -> None:
    await gateway.link.client.set(b"kvgate:answer:" + KEY.hex().encode(), garbage)
    await gateway.link.client.set(b"kvgate:flushes", b"0")
    assert await gateway.found() is None
    assert gateway.store.stats().misses == 1


async def test_changed_bytes_are_counted(gateway: Instance) -> None:
    await gateway.put()
    await gateway.link.client.setrange(b"kvgate:answer:" + KEY.hex().encode(), 60, b"???")
    assert await gateway.found() is None
    assert gateway.store.stats().garbage == 1


async def test_large_answers_come_back_whole_and_take_little_room(gateway: Instance) -> None:
    stored = answer(CHAT, chat_reply({"content": "It is a long story. " * 4500}))
    await gateway.put(stored=stored)
    assert await gateway.found() == stored
    assert await gateway.link.client.strlen(b"kvgate:answer:" + KEY.hex().encode()) < len(stored.body) / 10


async def test_what_is_too_large_or_too_much_at_once_is_dropped(gateway: Instance) -> None:
    gateway.store.put(KEY, "t", answer(CHAT, {"x": "x" * 100_000}), 60, START)
    assert gateway.store.stats().dropped == 1
    for number in range(4):
        gateway.store.put(bytes([number]) * 32, "t", answer(CHAT, {"x": "x" * 90_000}), 60, START)
    await gateway.store.written()
    stats = gateway.store.stats()
    assert (stats.stored, stats.dropped) == (3, 2)


async def test_equal_requests_on_several_instances_are_one_request_upstream(redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(instance(redis.url)) for _ in range(4)]
        lookups = [asyncio.create_task(gateways[i % 4].look_up()) for i in range(100)]
        done, _ = await asyncio.wait(lookups, return_when=asyncio.FIRST_COMPLETED)
        (lead,) = [task.result() for task in done if isinstance(task.result(), Lead)]
        assert isinstance(lead, Lead)
        finish(lead)
        results = await asyncio.gather(*lookups)
    assert sum(isinstance(result, Hit) for result in results) == 99
    bodies = {result.answer.body for result in results if isinstance(result, Hit)}
    assert bodies == {orjson.dumps(REPLY)}


async def test_when_the_leading_instance_gives_up_another_takes_the_lead(gateway: Instance, other: Instance) -> None:
    lead = await gateway.lead()
    waiting = asyncio.create_task(other.look_up())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    lead.abandon()
    assert isinstance(await waiting, Lead)


async def test_an_instance_that_has_to_wait_for_another_says_so_first(gateway: Instance, other: Instance) -> None:
    told: asyncio.Queue[float] = asyncio.Queue()
    lead = await gateway.lead()
    waiting = asyncio.create_task(other.cache.look_up(ask(temperature=0), "t", before_waiting=told.put))
    assert 0 < await told.get() <= 20
    finish(lead)
    assert isinstance(await waiting, Hit) and told.empty()


async def test_a_leading_instance_that_died_holds_the_others_up_no_longer_than_its_lease(redis: RedisServer) -> None:
    async with instance(redis.url, wait_s=0.2) as dead, instance(redis.url) as alive:
        await dead.lead()
        assert isinstance(await alive.look_up(), Lead)


async def test_the_lease_of_an_instance_that_died_is_soon_free(redis: RedisServer) -> None:
    async with instance(redis.url, renew_s=0.05) as dying:
        await dying.lead()
    async with instance(redis.url, wait_s=600) as alive:
        assert isinstance(await alive.look_up(), Lead)


async def test_an_instance_keeps_its_lease_for_as_long_as_the_answer_takes(redis: RedisServer, other: Instance) -> None:
    async with instance(redis.url, renew_s=0.2) as slow:
        lead = await slow.lead()
        waiting = asyncio.create_task(other.look_up())
        (lease,) = await slow.link.client.keys(b"kvgate:lease:*")
        before_ms, renewals = 600, 0
        while renewals < 3:
            left_ms = await slow.link.client.pttl(lease)
            assert left_ms > 0
            renewals += left_ms > before_ms
            before_ms = left_ms
            await asyncio.sleep(0.01)
        assert not waiting.done()
        finish(lead)
        assert isinstance(await waiting, Hit)


async def test_a_client_that_goes_away_while_its_instance_waits_leaves_no_lease(
    gateway: Instance, other: Instance
) -> None:
    lead = await gateway.lead()
    waiting = asyncio.create_task(other.look_up())
    await asyncio.wait([waiting], timeout=0.05)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    lead.abandon()
    await gateway.store.written()
    await other.store.written()
    assert not await gateway.link.client.keys(b"kvgate:lease:*")


async def test_no_lease_is_left_when_the_answer_is_stored(gateway: Instance) -> None:
    finish(await gateway.lead())
    await gateway.store.written()
    assert not await gateway.link.client.keys(b"kvgate:lease:*")
    assert isinstance(await gateway.look_up(), Hit)


async def test_without_redis_at_the_start_each_instance_shares_among_its_own() -> None:
    async with RedisServer(started=False) as redis, instance(redis.url) as gateway:
        lead = await gateway.lead()
        waiting = asyncio.create_task(gateway.look_up())
        await asyncio.sleep(0)
        finish(lead)
        assert isinstance(await waiting, Hit)
        with pytest.raises(StoreDown):
            await gateway.cache.flush("t")


async def test_a_redis_that_is_killed_and_comes_back_is_used_again(redis: RedisServer, gateway: Instance) -> None:
    finish(await gateway.lead())
    await gateway.store.written()
    redis.kill()
    lead = await gateway.lead()
    finish(lead)
    await gateway.store.written()
    redis.start()
    while gateway.link.down:
        lead = await gateway.lead()
        lead.refused()
        await asyncio.sleep(0.02)
    finish(await gateway.lead())
    await gateway.store.written()
    assert isinstance(await gateway.look_up(), Hit)


async def test_a_redis_that_hangs_holds_up_one_call_and_then_none(redis: RedisServer) -> None:
    async with instance(redis.url, timeout_s=0.1) as gateway:
        redis.pause()
        assert await gateway.store.get(KEY, "t") is None
        failures = gateway.link.failures
        gateway.link._ask_after_s += 60  # whatever time the machine takes for what follows
        finish(await gateway.lead())
        assert [await gateway.store.get(KEY, "t") for _ in range(20)] == [None] * 20
        assert gateway.link.failures == failures


async def test_nothing_readable_of_prompt_or_tenant_is_in_the_names(gateway: Instance) -> None:
    looked_up = await gateway.cache.look_up(
        ask(temperature=0, seed=1, messages=[{"role": "user", "content": "secret"}]), "acme"
    )
    assert isinstance(looked_up, Lead)
    finish(looked_up)
    await gateway.cache.flush("acme")
    await gateway.store.written()
    names = b" ".join(await gateway.link.client.keys(b"*"))
    assert b"kvgate:flushes:" in names and b"acme" not in names and b"secret" not in names

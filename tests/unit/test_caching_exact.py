"""The exact cache as the request path uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from extproc.caching.directives import Directives
from extproc.caching.exact import Bypass, ExactCache, ExactSettings, Hit, expected_choices
from extproc.caching.lead import Lead
from extproc.caching.memory import MemoryStore
from extproc.caching.replay import sse_reply
from extproc.caching.store import Found
from extproc.clock import ManualClock
from tests.unit.caching_replies import (
    CHAT,
    CHAT_REPLIES,
    COMPLETIONS,
    EMBEDDINGS,
    Json,
    answer,
    ask,
    chat_reply,
    engine_stream,
)

REPLY = CHAT_REPLIES["text"]
JSON = orjson.dumps(REPLY)


class Wall:
    """Unix time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A cache, and an engine that counts what reaches it."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.wall = ManualClock(), Wall()
        self.store = MemoryStore(self.clock)
        self.cache = ExactCache(self.store, self.clock, ExactSettings(**settings), wall=self.wall)
        self.upstream = 0

    async def lead(self, scope: str = "t", directives: str = "", **fields: Any) -> Lead:
        looked_up = await self.look_up(scope, directives, **fields)
        assert isinstance(looked_up, Lead)
        self.upstream += 1
        return looked_up

    async def look_up(self, scope: str = "t", directives: str = "", **fields: Any) -> Hit | Lead | Bypass:
        return await self.cache.look_up(ask(**{"temperature": 0, **fields}), scope, Directives.parse(directives))

    async def hit(self, scope: str = "t", directives: str = "", **fields: Any) -> Hit:
        looked_up = await self.look_up(scope, directives, **fields)
        assert isinstance(looked_up, Hit)
        return looked_up

    async def fill(self, body: bytes = JSON, **fields: Any) -> None:
        lead = await self.lead(**fields)
        lead.feed(body)
        assert lead.finish() is not None


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_a_request_is_answered_once_and_then_from_the_cache() -> None:
    bench = Bench()
    await bench.fill()
    bench.wall.now_s += 5
    hit = await bench.hit()
    assert (orjson.loads(hit.answer.body), hit.age_s, hit.waited) == (REPLY, 5, False)


@pytest.mark.parametrize("first", ["stream", "blocking"])
async def test_streamed_and_blocking_requests_share_an_entry(first: str) -> None:
    bench = Bench()
    stream = first == "stream"
    await bench.fill(sse_reply(answer(CHAT, REPLY), True, {}) if stream else JSON, stream=stream)
    hit = await bench.hit(stream=not stream)
    assert orjson.loads(hit.answer.body) == REPLY


async def test_tenants_never_see_each_others_answers() -> None:
    bench = Bench()
    await bench.fill()
    assert isinstance(await bench.look_up("u"), Lead)


async def test_an_answer_grows_old() -> None:
    bench = Bench(ttl_s=60)
    await bench.fill()
    bench.clock.advance(60)
    await bench.lead()


async def test_what_is_not_deterministic_passes_by() -> None:
    bench = Bench()
    assert await bench.look_up(temperature=1) == Bypass("sampled")
    assert await bench.look_up(directives="no-store") == Bypass("no_store")
    await bench.lead(temperature=1, directives="force")


async def test_no_cache_asks_anew_and_replaces_what_was_stored() -> None:
    bench = Bench()
    await bench.fill()
    await bench.fill(orjson.dumps(chat_reply({"content": "new"})), directives="no-cache")
    assert b"new" in (await bench.hit()).answer.body


async def test_no_cache_does_not_wait_for_an_equal_request() -> None:
    bench = Bench()
    await bench.lead()
    await bench.lead(directives="no-cache")


async def test_max_age_takes_only_what_is_young_enough() -> None:
    bench = Bench()
    await bench.fill()
    bench.wall.now_s += 10
    assert (await bench.hit(directives="max-age=10")).age_s == 10
    lead = await bench.lead(directives="max-age=9")
    lead.feed(JSON)
    lead.finish()
    assert (await bench.hit(directives="max-age=9")).age_s == 0


async def test_one_who_wants_it_fresh_does_not_take_what_another_found_in_the_store() -> None:
    bench = Bench()
    await bench.fill()
    bench.wall.now_s += 10
    gate = asyncio.Event()
    look = bench.store.get

    async def slowly(key: bytes, scope: str) -> Found:
        await gate.wait()
        return await look(key, scope)

    bench.store.get = slowly  # type: ignore[method-assign]
    patient = asyncio.create_task(bench.look_up())
    fresh = asyncio.create_task(bench.look_up(directives="max-age=5"))
    await settle()
    gate.set()
    assert isinstance(await patient, Hit) and isinstance(await fresh, Lead)


async def test_a_hundred_equal_requests_are_one_request_upstream() -> None:
    bench = Bench()
    lead = await bench.lead()
    others = [asyncio.create_task(bench.look_up(stream=bool(i % 2))) for i in range(99)]
    await settle()
    lead.feed(JSON)
    lead.finish()
    hits = await asyncio.gather(*others)
    assert all(isinstance(hit, Hit) and hit.waited and hit.answer.body == JSON for hit in hits)


async def test_when_the_leader_is_gone_one_other_asks() -> None:
    bench = Bench()
    lead = await bench.lead()
    others = [asyncio.create_task(bench.look_up()) for _ in range(9)]
    await settle()
    lead.abandon()
    lead.abandon()
    lead.feed(JSON)
    assert lead.finish() is None, "it gave the lead away"
    await settle()
    (successor,) = [task.result() for task in others if task.done()]
    assert isinstance(successor, Lead)
    successor.feed(JSON)
    successor.finish()
    assert sum(isinstance(result, Hit) for result in await asyncio.gather(*others)) == 8


async def test_when_the_engine_refuses_all_ask_for_themselves() -> None:
    bench = Bench()
    lead = await bench.lead()
    others = [asyncio.create_task(bench.look_up()) for _ in range(9)]
    await settle()
    lead.refused()
    assert all(isinstance(result, Lead) for result in await asyncio.gather(*others))


@pytest.mark.parametrize("body", [JSON[:-9], b'{"error": {}}', b"", orjson.dumps(chat_reply())])
async def test_what_is_not_complete_is_not_stored_and_nobody_waits_for_it(body: bytes) -> None:
    bench = Bench()
    lead = await bench.lead()
    other = asyncio.create_task(bench.look_up())
    await settle()
    lead.feed(body)
    assert lead.finish() is None
    assert isinstance(await other, Lead)
    assert bench.store.stats().entries == 0


async def test_an_answer_that_gets_too_large_lets_those_who_wait_go_at_once() -> None:
    bench = Bench(max_answer_bytes=1000)
    lead = await bench.lead()
    other = asyncio.create_task(bench.look_up())
    await settle()
    lead.feed(b"x" * 1001)
    assert isinstance(await other, Lead)
    assert lead.finish() is None


async def test_one_who_waited_long_enough_asks_for_itself() -> None:
    bench = Bench(wait_s=0.01)
    await bench.lead()
    await bench.lead()


async def test_a_client_that_goes_away_while_it_waits_leaves_nothing_behind() -> None:
    bench = Bench()
    lead = await bench.lead()
    gone, there = asyncio.create_task(bench.look_up()), asyncio.create_task(bench.look_up())
    await settle()
    gone.cancel()
    await settle()
    lead.abandon()
    assert isinstance(await there, Lead)


async def test_who_has_to_wait_says_so_first_and_once() -> None:
    bench, told = Bench(wait_s=9), list[float]()

    async def tell(seconds: float) -> None:
        told.append(seconds)

    lead = await bench.cache.look_up(ask(temperature=0), "t", before_waiting=tell)
    assert isinstance(lead, Lead) and not told
    other = asyncio.create_task(bench.cache.look_up(ask(temperature=0), "t", before_waiting=tell))
    await settle()
    assert told == [9]
    lead.abandon()
    assert isinstance(await other, Lead)
    assert told == [9]


async def test_one_who_fails_before_it_waits_leaves_nothing_behind() -> None:
    bench = Bench()

    async def fail(seconds: float) -> None:
        raise ConnectionResetError

    lead = await bench.lead()
    with pytest.raises(ConnectionResetError):
        await bench.cache.look_up(ask(temperature=0), "t", before_waiting=fail)
    there = asyncio.create_task(bench.look_up())
    await settle()
    lead.abandon()
    assert isinstance(await there, Lead)


async def test_what_was_under_way_during_a_flush_is_not_stored() -> None:
    bench = Bench()
    lead = await bench.lead()
    await bench.cache.flush("t")
    lead.feed(JSON)
    assert lead.finish() is not None, "those who wait get it all the same"
    await bench.lead()


class Broken(MemoryStore):
    """A store that cannot be asked."""

    async def get(self, key: bytes, scope: str) -> Found | None:  # type: ignore[override]
        return None


async def test_without_a_store_requests_go_on_and_equal_ones_still_share() -> None:
    clock = ManualClock()
    cache = ExactCache(Broken(clock), clock)
    lead = await cache.look_up(ask(temperature=0), "t")
    assert isinstance(lead, Lead)
    other = asyncio.create_task(cache.look_up(ask(temperature=0), "t"))
    await settle()
    lead.feed(JSON)
    assert lead.finish() is not None
    assert isinstance(await other, Hit)


@pytest.mark.parametrize(
    ("endpoint", "fields", "expected"),
    [
        (CHAT, {"n": 3}, 3),
        (COMPLETIONS, {"prompt": ["a", "b"], "n": 2}, 4),
        (EMBEDDINGS, {"input": ["a", "b", "c"]}, 3),
    ],
)
def test_how_many_choices_a_complete_reply_has(endpoint: Any, fields: Json, expected: int) -> None:
    assert expected_choices(ask(endpoint, **fields)) == expected


async def test_a_stream_that_lacks_a_choice_is_not_stored() -> None:
    bench = Bench()
    lead = await bench.lead(n=2, stream=True)
    lead.feed(engine_stream(CHAT, "one"))
    assert lead.finish() is None

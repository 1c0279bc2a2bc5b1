"""KV events of simulated replicas over real ZMQ: what arrives, what was lost and comes again, what is new."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
import zmq
import zmq.asyncio

from extproc.clock import MonotonicClock
from extproc.config.topology import KvFeed
from extproc.fleet.blocks import BlockEvent, ReportedBlocks
from extproc.fleet.events import CacheCleared
from extproc.fleet.feeds.kv_events import KvEvents
from extproc.fleet.kv_events import BlocksStored, FeedReported
from extproc.prefix.media_runs import MediaRuns
from extproc.sim import EngineSettings, RunningSim
from tests.ports import free_port
from tests.unit.sim.wire import chat, eventually, launch, post

SMALL = EngineSettings.instant(block_size=8, kv_blocks=40)
PATH = "/v1/chat/completions"


@dataclass
class Heard:
    """All that the feeds said, and its fold."""

    blocks: ReportedBlocks = field(default_factory=lambda: ReportedBlocks(MediaRuns()))
    events: list[BlockEvent] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def take(self, event: BlockEvent) -> None:
        self.events.append(event)
        self.blocks.apply(event)

    def count(self, _: str, kind: str) -> None:
        self.faults[kind] += 1

    def state(self) -> str:
        return self.blocks.state("a")

    def restarts(self) -> int:
        return sum(isinstance(event, CacheCleared) for event in self.events)


@asynccontextmanager
async def following(*feeds: KvFeed, idle_s: float = 30.0, answer_within_s: float = 5.0) -> AsyncIterator[Heard]:
    heard = Heard()
    named = dict(zip("abcdefgh", feeds, strict=False))
    subscriber = KvEvents(
        lambda: named, heard.take, MonotonicClock(), heard.count, idle_s=idle_s, answer_within_s=answer_within_s
    )
    task = asyncio.create_task(subscriber.run())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def feed() -> KvFeed:
    return KvFeed(f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}", "kv-events")


async def engine(feed: KvFeed, settings: EngineSettings = SMALL) -> RunningSim:
    return await launch(settings, kv_events_endpoint=feed.url, kv_events_replay=feed.replay_url)


def agrees(heard: Heard, sim: RunningSim) -> bool:
    """Whether the fold holds just as many blocks as the engine."""
    return heard.state() == "whole" and heard.blocks.held_blocks("a") == sim.replica.engine.cache.cached_hashes > 0


async def serve(http: aiohttp.ClientSession, sim: RunningSim, *topics: int) -> None:
    for topic in topics:
        await post(http, sim, PATH, chat(f"topic {topic} " * 20, max_tokens=20))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_what_an_engine_holds_is_known_through_evictions(http: aiohttp.ClientSession, feed: KvFeed) -> None:
    async with await engine(feed) as sim, following(feed) as heard:
        await serve(http, sim, *range(12), *range(6))
        assert sim.replica.engine.stats.evicted_blocks > 0
        await eventually(lambda: agrees(heard, sim))
        assert not heard.blocks.faults


async def test_a_feed_that_begins_late_is_whole(http: aiohttp.ClientSession, feed: KvFeed) -> None:
    async with await engine(feed) as sim:
        await serve(http, sim, *range(9))
        async with following(feed) as heard:
            await eventually(lambda: agrees(heard, sim))


async def test_an_idle_engine_is_whole_before_it_has_said_anything(feed: KvFeed) -> None:
    async with await engine(feed), following(feed) as heard:
        await eventually(lambda: heard.state() == "whole")


async def test_an_engine_that_comes_up_later_is_followed(http: aiohttp.ClientSession, feed: KvFeed) -> None:
    async with following(feed) as heard:
        assert heard.state() == "down"
        async with await engine(feed) as sim:
            await serve(http, sim, 1)
            await eventually(lambda: agrees(heard, sim))


async def test_a_restarted_engine_holds_nothing_and_is_whole(http: aiohttp.ClientSession, feed: KvFeed) -> None:
    async with following(feed) as heard:
        async with await engine(feed) as sim:
            await serve(http, sim, 1, 2)
            await eventually(lambda: agrees(heard, sim))
        await eventually(lambda: heard.state() == "down")
        assert heard.blocks.held_blocks("a") > 0
        async with await engine(feed, EngineSettings.instant(block_size=4, kv_blocks=100)) as sim:
            await eventually(lambda: heard.state() == "whole")
            assert (heard.restarts(), heard.blocks.held_blocks("a")) == (1, 0)
            await serve(http, sim, 3)
            await eventually(lambda: agrees(heard, sim))
            assert heard.blocks.block_size("a") == 4


async def test_clearing_the_cache_is_no_restart(http: aiohttp.ClientSession, feed: KvFeed) -> None:
    async with await engine(feed) as sim, following(feed) as heard:
        await serve(http, sim, 1)
        await post(http, sim, "/reset_prefix_cache", {})
        await serve(http, sim, 2)
        await eventually(lambda: agrees(heard, sim) and heard.restarts() == 1)
        assert heard.faults["restart"] == 0


class Scripted:
    """A publisher that says what a test wants, in vLLM's newer way of answering replays: with the topic in front."""

    def __init__(self, feed: KvFeed, *, replay_queue: int = 1_000) -> None:
        self.context = zmq.asyncio.Context()
        self.pub = self.context.socket(zmq.PUB)
        self.pub.bind(feed.url)
        self.router = self.context.socket(zmq.ROUTER)
        self.router.set_hwm(replay_queue)
        self.router.bind(feed.replay_url or "")
        self.ring: dict[int, bytes] = {}
        self.asked: list[int] = []
        self.task = asyncio.create_task(self._answer())

    async def __aenter__(self) -> Scripted:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.context.destroy(linger=0)

    async def _answer(self) -> None:
        while True:
            client, _, first = await self.router.recv_multipart()
            self.asked.append(int.from_bytes(first, "big"))
            plain: zmq.Socket[bytes] = zmq.Socket.shadow(self.router)
            for number, payload in sorted(self.ring.items()):
                if number >= self.asked[-1]:
                    plain.send_multipart((client, b"", b"kv-events", number.to_bytes(8, "big"), payload))
            plain.send_multipart((client, b"", b"", b"\xff" * 8, b""))

    async def say(self, number: int, *, aloud: bool = True, parent: int | None = None, rank: int = 0) -> None:
        """Stores one block of 2 tokens, whose hash is its number plus 1."""
        stored = {
            "type": "BlockStored",
            "block_hashes": [number + 1],
            "parent_block_hash": parent,
            "token_ids": [number, 7],
            "block_size": 2,
            "lora_id": None,
            "medium": "GPU",
            "lora_name": None,
            "extra_keys": [None],
        }
        self.ring[number] = msgspec.msgpack.encode([0.0, [stored], rank])
        if aloud:
            await self.send(number)

    async def send(self, number: int) -> None:
        await self.pub.send_multipart((b"kv-events", number.to_bytes(8, "big"), self.ring[number]))


def hashes(heard: Heard) -> Iterator[Any]:
    return (event.hashes[0] for event in heard.events if isinstance(event, BlocksStored))


async def test_a_gap_is_replayed_in_order(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(feed) as heard:
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0)
        for number in range(1, 5):
            await engine.say(number, aloud=False)
        await engine.say(5)
        await eventually(lambda: heard.blocks.held_blocks("a") == 6)
        assert list(hashes(heard)) == [1, 2, 3, 4, 5, 6]
        assert heard.faults == {"gap": 1}
        assert heard.state() == "whole"


async def test_more_lost_than_the_ring_holds_is_known_to_be_partial(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(feed) as heard:
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0)
        await eventually(lambda: heard.blocks.held_blocks("a") == 1)
        engine.ring.clear()
        for number in range(20, 30):
            await engine.say(number, aloud=False)
        await engine.say(30)
        await eventually(lambda: heard.state() == "partial" and heard.blocks.held_blocks("a") == 11)
        assert heard.restarts() == 0


async def test_the_last_batch_that_was_lost_is_noticed_when_the_feed_is_idle(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(feed, idle_s=0.05) as heard:
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0, aloud=False)
        await eventually(lambda: heard.blocks.held_blocks("a") == 1)


async def test_a_ring_longer_than_its_sockets_queue_is_replayed_in_parts(feed: KvFeed) -> None:
    async with Scripted(feed, replay_queue=100) as engine:
        for number in range(1_000):
            await engine.say(number, aloud=False)
        async with following(feed, answer_within_s=0.2) as heard:
            await eventually(lambda: heard.state() == "whole")
        assert list(hashes(heard)) == list(range(1, 1_001))
        assert not heard.faults
        assert len(engine.asked) > 1


async def test_garbage_is_counted_and_harms_nobody(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(feed) as heard:
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0)
        await engine.pub.send_multipart((b"kv-events",))
        await engine.pub.send_multipart((b"kv-events", b"three", b""))
        await engine.pub.send_multipart((b"kv-events", b"", b"", b"", b"", b""))
        engine.ring[1] = b"\xc1 no msgpack"
        await engine.send(1)
        engine.ring[2] = msgspec.msgpack.encode([0.0, [{"type": "BlockExploded"}], 0])
        await engine.send(2)
        await engine.say(3)
        await eventually(lambda: heard.blocks.held_blocks("a") == 2)
        assert heard.faults == {"malformed frames": 3, "malformed batch": 1, "malformed event": 1}


async def test_a_feed_without_a_replay_socket_is_partial_if_it_begins_late(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(KvFeed(feed.url, None, "kv-events")) as heard:
        for number in range(400):
            await engine.say(number)
            if heard.state() == "partial":
                break
            await asyncio.sleep(0.005)
        await eventually(lambda: heard.state() == "partial" and heard.blocks.held_blocks("a") > 0)


async def test_a_replay_socket_that_never_answers_costs_only_the_beginning(feed: KvFeed) -> None:
    silent = KvFeed(feed.url, f"tcp://127.0.0.1:{free_port()}", "kv-events")
    async with Scripted(feed) as engine, following(silent, answer_within_s=0.05) as heard:
        for number in range(400):
            await engine.say(number)
            if heard.state() == "partial":
                break
            await asyncio.sleep(0.005)
        await eventually(lambda: heard.state() == "partial" and heard.blocks.held_blocks("a") > 0)
        assert heard.faults["replay failed"] > 0


async def test_a_burst_does_not_hold_up_the_loop(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, following(feed) as heard:
        await eventually(lambda: heard.state() == "whole")
        for number in range(3000):
            await engine.say(number, aloud=False)
        burst = [(b"kv-events", number.to_bytes(8, "big"), payload) for number, payload in engine.ring.items()]
        plain: zmq.Socket[bytes] = zmq.Socket.shadow(engine.pub)
        for frames in burst:
            plain.send_multipart(frames)
        turns = 0
        while heard.blocks.held_blocks("a") < 3000:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        assert list(hashes(heard)) == list(range(1, 3001))
        assert heard.state() == "whole"


async def test_a_connection_that_is_cut_is_taken_up_where_it_ended(feed: KvFeed) -> None:
    async with Scripted(feed) as engine, Wire(feed) as wire, following(wire.feed) as heard:
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0)
        await eventually(lambda: heard.blocks.held_blocks("a") == 1)
        await wire.cut()
        await eventually(lambda: heard.state() == "down")
        assert heard.blocks.held_blocks("a") == 1
        await engine.say(1, parent=1)
        await wire.mend()
        await eventually(lambda: heard.state() == "whole" and heard.blocks.held_blocks("a") == 2)
        assert heard.restarts() == 0
        assert engine.asked[-1] == 1
        assert list(hashes(heard)) == [1, 2]


class Wire:
    """TCP between a subscriber and an engine, which can be cut."""

    def __init__(self, feed: KvFeed) -> None:
        self._feed = feed
        self._ports = (free_port(), free_port())
        events, replay = (f"tcp://127.0.0.1:{port}" for port in self._ports)
        self.feed = KvFeed(events, replay, feed.topic)
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        for port, url in zip(self._ports, (self._feed.url, self._feed.replay_url or ""), strict=True):
            target = int(url.rpartition(":")[2])

            async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target) -> None:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
                self._writers += [writer, far_writer]
                for source, sink in ((reader, far_writer), (far_reader, writer)):
                    self._pumps.add(asyncio.create_task(_pump(source, sink)))

            self._servers.append(await asyncio.start_server(join, "127.0.0.1", port))

    async def cut(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._servers, self._writers, self._pumps = [], [], set()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while content := await source.read(65536):
        sink.write(content)
        await sink.drain()
    sink.transport.abort()


async def test_ranks_that_share_a_feed_are_told_apart(feed: KvFeed) -> None:
    heard = Heard()
    subscriber = KvEvents(
        lambda: {"a": feed}, heard.take, MonotonicClock(), heard.count, ranks=lambda: {"a": {0: "a", 1: "a/1"}}
    )
    async with Scripted(feed) as engine:
        task = asyncio.create_task(subscriber.run())
        await eventually(lambda: heard.state() == "whole")
        await engine.say(0, rank=0)
        await engine.say(1, rank=1)
        await eventually(lambda: heard.blocks.held_blocks("a/1") == 1)
        assert (heard.blocks.held_blocks("a"), heard.blocks.state("a/1")) == (1, "whole")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_feeds_come_and_go_with_the_configuration(feed: KvFeed) -> None:
    feeds = {"a": feed}
    heard = Heard()
    subscriber = KvEvents(lambda: feeds, heard.take, MonotonicClock(), heard.count)
    async with Scripted(feed) as engine:
        task = asyncio.create_task(subscriber.run())
        await eventually(lambda: heard.state() == "whole")
        feeds.clear()
        before = list(heard.events)
        await asyncio.sleep(0.6)
        await engine.say(0)
        feeds["b"] = feed
        await eventually(lambda: heard.blocks.held_blocks("b") == 1)
        after = heard.events[len(before) :]
        assert {event.replica for event in after} == {"b"}
        assert isinstance(after[0], FeedReported)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

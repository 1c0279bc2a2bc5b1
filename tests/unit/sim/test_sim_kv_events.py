"""KV events are vLLM's on the wire, and enough to rebuild what the cache holds."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
import xxhash
import zmq
import zmq.asyncio

from extproc.sim import EngineSettings, RunningSim
from extproc.sim.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, to_wire
from extproc.sim.requests import BlocksRemoved, BlocksStored, CacheCleared
from tests.unit.sim.pictures import image_part, picture, text_part, user
from tests.unit.sim.wire import chat, launch, post

LOOPBACK = "tcp://127.0.0.1:*"
SMALL = EngineSettings.instant(block_size=8, kv_blocks=40)
PATH = "/v1/chat/completions"


@pytest.fixture
async def publishing() -> AsyncIterator[RunningSim]:
    async with await launch(
        SMALL, loras=("adapter",), kv_events_endpoint=LOOPBACK, kv_events_replay=LOOPBACK
    ) as running:
        yield running


@asynccontextmanager
async def zmq_socket(kind: int, address: str | None) -> AsyncIterator[zmq.asyncio.Socket]:
    assert address is not None
    with zmq.asyncio.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(address)
        yield socket


async def replayed(sim: RunningSim, first: int = 0) -> list[tuple[int, bytes]]:
    """The batches from `first` on, with their sequence numbers."""
    async with zmq_socket(zmq.DEALER, sim.kv_events_replay) as dealer:
        await dealer.send_multipart([b"", first.to_bytes(8, "big")])
        batches: list[tuple[int, bytes]] = []
        while True:
            empty, sequence, payload = await dealer.recv_multipart()
            assert empty == b""
            if sequence == b"\xff" * 8:
                assert payload == b""
                return batches
            batches.append((int.from_bytes(sequence, "big"), payload))


async def all_events(sim: RunningSim) -> list[dict[str, Any]]:
    return [event for _, payload in await replayed(sim) for event in msgspec.msgpack.decode(payload)[1]]


def rekeyed(event: dict[str, Any]) -> Iterator[int]:
    """The hashes of a BlockStored's blocks, from nothing but tokens, extra keys and the parent."""
    size = event["block_size"]
    parent = (event["parent_block_hash"] or 0).to_bytes(8, "big")
    for block, extra in enumerate(event["extra_keys"]):
        tokens = event["token_ids"][block * size : (block + 1) * size]
        content = parent + struct.pack(f"<{size}I", *tokens)
        parent = xxhash.xxh3_64_digest(content + (msgspec.msgpack.encode(extra) if extra else b""))
        yield int.from_bytes(parent, "big")


async def test_a_subscriber_gets_topic_sequence_and_batch(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    async with zmq_socket(zmq.SUB, publishing.kv_events_endpoint) as subscriber:
        # A subscription takes effect some time after connect; what is published before is lost to it.
        frames: list[bytes] = []
        for attempt in range(500):
            await post(http, publishing, PATH, chat(f"attempt {attempt}"))
            if await subscriber.poll(10):
                frames = await subscriber.recv_multipart()
                break
        topic, sequence, payload = frames
        assert topic == b"kv-events"
        assert len(sequence) == 8
        timestamp, events, rank = msgspec.msgpack.decode(payload)
        assert isinstance(timestamp, float)
        assert rank == 0
        assert {event["type"] for event in events} <= {"BlockStored", "BlockRemoved"}


async def test_events_are_maps_with_vllms_fields(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    await post(http, publishing, PATH, chat("some text that fills a block or two, and no more than that"))
    stored = (await all_events(publishing))[0]
    assert list(stored) == [
        *("type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name"),
        *("extra_keys", "group_idx", "kv_cache_spec_kind"),
    ]
    assert (stored["type"], stored["parent_block_hash"], stored["medium"]) == ("BlockStored", None, "GPU")


async def test_every_block_can_be_re_keyed_from_its_event(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    image = image_part(picture(280, 140))
    for body in (
        chat("hello " * 20, max_tokens=30),
        chat("hello " * 20 + "and more " * 10, max_tokens=30),
        chat("hello " * 20, model="adapter"),
        chat("hello " * 20, cache_salt="tenant"),
        user(text_part("look"), image),
    ):
        assert (await post(http, publishing, PATH, body))[0] == 200
    known: set[int] = set()
    extras: list[Any] = []
    for event in await all_events(publishing):
        if event["type"] != "BlockStored":
            continue
        blocks = len(event["block_hashes"])
        assert len(event["token_ids"]) == blocks * event["block_size"]
        assert len(event["extra_keys"]) == blocks
        assert event["parent_block_hash"] is None or event["parent_block_hash"] in known
        assert list(rekeyed(event)) == event["block_hashes"]
        known.update(event["block_hashes"])
        extras += [key for key in event["extra_keys"] if key]
    assert ["adapter"] in extras
    assert ["tenant"] in extras
    offsets = [key[0][1] for key in extras if isinstance(key[0], list)]
    assert offsets == [offsets[0] - 8 * block for block in range(len(offsets))]


async def test_events_add_up_to_what_the_cache_holds(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    for topic in range(12):
        await post(http, publishing, PATH, chat(f"topic {topic} " * 20, max_tokens=20))
        await post(http, publishing, PATH, chat(f"topic {topic} " * 20, max_tokens=20))
    held: Counter[int] = Counter()
    removals = 0
    for event in await all_events(publishing):
        if event["type"] == "BlockStored":
            held.update(event["block_hashes"])
        else:
            removals += len(event["block_hashes"])
            held.subtract(event["block_hashes"])
    engine = publishing.replica.engine
    assert removals == engine.stats.evicted_blocks > 0
    assert min(held.values()) >= 0
    assert sum(1 for count in held.values() if count) == engine.cache.cached_hashes
    assert all(engine.cache.holds(block_hash) for block_hash, count in held.items() if count)


async def test_clearing_is_announced_with_the_next_step(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    await post(http, publishing, PATH, chat("warm " * 20))
    before = len(await replayed(publishing))
    await post(http, publishing, "/reset_prefix_cache", {})
    assert len(await replayed(publishing)) == before
    await post(http, publishing, PATH, chat("warm " * 20))
    kinds = [event["type"] for event in await all_events(publishing)]
    assert kinds.index("AllBlocksCleared") < len(kinds) - 1 - kinds[::-1].index("BlockStored")


async def test_replay_starts_where_it_is_asked_to(http: aiohttp.ClientSession, publishing: RunningSim) -> None:
    for i in range(4):
        await post(http, publishing, PATH, chat(f"request {i} " * 10))
    every = await replayed(publishing)
    assert [sequence for sequence, _ in every] == list(range(len(every)))
    assert await replayed(publishing, first=2) == every[2:]
    assert await replayed(publishing, first=10_000) == []


async def test_a_restarted_replica_counts_from_zero_again(http: aiohttp.ClientSession) -> None:
    for _ in range(2):
        async with await launch(SMALL, kv_events_endpoint=LOOPBACK, kv_events_replay=LOOPBACK) as sim:
            await post(http, sim, PATH, chat("hello " * 20))
            assert (await replayed(sim))[0][0] == 0


async def test_without_an_endpoint_nothing_is_recorded(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await post(http, sim, PATH, chat("hello " * 20))
    assert sim.kv_events_endpoint is None
    assert sim.replica.engine.take_events() == []


def test_each_removed_block_is_an_event_of_its_own() -> None:
    events = to_wire([BlocksStored((1,), None, [5, 6], [None], None), BlocksRemoved((1, 2)), CacheCleared()], 2)
    stored, *rest = events
    assert isinstance(stored, BlockStored)
    assert rest == [
        BlockRemoved(block_hashes=[1], medium="GPU", group_idx=0),
        BlockRemoved(block_hashes=[2], medium="GPU", group_idx=0),
        AllBlocksCleared(),
    ]

"""KV events on ZMQ, in vLLM's wire format (`vllm/distributed/kv_events.py`).

Each engine step with events is one batch, sent as three frames: topic, 8-byte big-endian sequence number from 0,
msgpack ``[timestamp, [event, ...], data_parallel_rank]`` whose events are maps. The last 10,000 batches can be asked
for again on a ROUTER socket: ``[b"", first_sequence]`` is answered by ``[b"", sequence, batch]`` for each and then
``[b"", ff * 8, b""]``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from extproc.sim.requests import BlocksRemoved, BlocksStored, ExtraKeys, KvEvent

TOPIC = b"kv-events"
REPLAY_END = b"\xff" * 8
_REPLAY_BATCHES = 10_000
_HIGH_WATER_MARK = 100_000


class BlockStored(msgspec.Struct, tag=True, omit_defaults=True, frozen=True):
    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str | None
    lora_name: str | None
    extra_keys: list[ExtraKeys] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class BlockRemoved(msgspec.Struct, tag=True, omit_defaults=True, frozen=True):
    block_hashes: list[int]
    medium: str | None
    group_idx: int | None = None


class AllBlocksCleared(msgspec.Struct, tag=True, frozen=True):
    pass


WireEvent = BlockStored | BlockRemoved | AllBlocksCleared


class Batch(msgspec.Struct, array_like=True, frozen=True):
    ts: float
    events: list[WireEvent]
    data_parallel_rank: int


def to_wire(events: Iterable[KvEvent], block_size: int) -> Iterator[WireEvent]:
    """The engine's events as vLLM names and shapes them."""
    for event in events:
        match event:
            case BlocksStored():
                yield BlockStored(
                    block_hashes=list(event.block_hashes),
                    parent_block_hash=event.parent_hash,
                    token_ids=list(event.token_ids),
                    block_size=block_size,
                    lora_id=1 if event.lora_name else None,
                    medium="GPU",
                    lora_name=event.lora_name,
                    extra_keys=list(event.extra_keys),
                    group_idx=0,
                    kv_cache_spec_kind="full_attention",
                )
            case BlocksRemoved():
                for block_hash in event.block_hashes:
                    yield BlockRemoved(block_hashes=[block_hash], medium="GPU", group_idx=0)
            case _:
                yield AllBlocksCleared()


class Publisher:
    """The PUB socket and, if asked for, the replay socket. Must be built inside a running event loop.

    Raises:
        zmq.ZMQError: an address cannot be bound.
    """

    def __init__(self, block_size: int, endpoint: str, replay_endpoint: str | None, rank: int = 0) -> None:
        self._block_size = block_size
        self._rank = rank
        self._sequence = 0
        self._sent: deque[tuple[bytes, bytes]] = deque(maxlen=_REPLAY_BATCHES)
        self._encode = msgspec.msgpack.Encoder().encode
        self._context: zmq.Context[Any] = zmq.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._pub.set_hwm(_HIGH_WATER_MARK)
        self.endpoint = _bind(self._pub, endpoint)
        self.replay_endpoint: str | None = None
        self._replay_task: asyncio.Task[None] | None = None
        if replay_endpoint is not None:
            router = zmq.asyncio.Context(self._context).socket(zmq.ROUTER)
            self.replay_endpoint = _bind(router, replay_endpoint)
            self._replay_task = asyncio.create_task(self._answer_replays(router))

    def publish(self, events: list[KvEvent]) -> None:
        """Send one step's events as the next batch."""
        payload = self._encode(Batch(time.time(), list(to_wire(events, self._block_size)), self._rank))
        sequence = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        self._sent.append((sequence, payload))
        self._pub.send_multipart((TOPIC, sequence, payload), flags=zmq.NOBLOCK)

    async def close(self) -> None:
        if self._replay_task is not None:
            self._replay_task.cancel()
            await asyncio.gather(self._replay_task, return_exceptions=True)
        self._pub.close(linger=0)
        self._context.term()

    async def _answer_replays(self, router: zmq.asyncio.Socket) -> None:
        try:
            while True:
                frames = await router.recv_multipart()
                if len(frames) != 3:
                    continue
                client, _, first = frames
                for sequence, payload in list(self._sent):
                    if sequence >= first:
                        await router.send_multipart((client, b"", sequence, payload))
                await router.send_multipart((client, b"", REPLAY_END, b""))
        finally:
            router.close(linger=0)


def _bind(socket: Any, endpoint: str) -> str:
    socket.bind(endpoint)
    bound: bytes = socket.getsockopt(zmq.LAST_ENDPOINT)
    return bound.decode()

"""A batch of KV events as bytes -> events of the fleet.

The format is vLLM's (`vllm/distributed/kv_events.py`), msgpack: ``[timestamp, [event, ...], data_parallel_rank]``. An
event is a map with its type under "type"; before vLLM 0.29 or so an array that begins with it. Fields that are not
known are passed over, those that an older engine does not send have defaults.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from extproc.fleet.events import CacheCleared
from extproc.fleet.kv_events import GPU, BlocksRemoved, BlocksStored

WireEvent = BlocksStored | BlocksRemoved | CacheCleared

_MOST_BLOCK_TOKENS = 1 << 20

_Hash = int | bytes
_Size = Annotated[int, Meta(ge=1, le=_MOST_BLOCK_TOKENS)]
_Extras = list[list[object] | None] | None


class _Batch(Struct, array_like=True, frozen=True):
    ts: float
    events: list[Raw]
    data_parallel_rank: int | None = None


class _StoredMap(Struct, tag="BlockStored", frozen=True):
    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    token_ids: list[int]
    block_size: _Size
    lora_id: int | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: _Extras = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class _RemovedMap(Struct, tag="BlockRemoved", frozen=True):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


class _ClearedMap(Struct, tag="AllBlocksCleared", frozen=True):
    pass


class _StoredArray(Struct, tag="BlockStored", array_like=True, frozen=True):
    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    token_ids: list[int]
    block_size: _Size
    lora_id: int | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: _Extras = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class _RemovedArray(Struct, tag="BlockRemoved", array_like=True, frozen=True):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


class _ClearedArray(Struct, tag="AllBlocksCleared", array_like=True, frozen=True):
    pass


_batch = msgspec.msgpack.Decoder(_Batch)
_map = msgspec.msgpack.Decoder(_StoredMap | _RemovedMap | _ClearedMap)
_array = msgspec.msgpack.Decoder(_StoredArray | _RemovedArray | _ClearedArray)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one engine step did to the cache.

    Args:
        rank: the data-parallel rank that says so; None if it does not say which.
    """

    rank: int | None
    raw: tuple[Raw, ...]

    def events(self, replica: str, at_s: float) -> Iterator[WireEvent | None]:
        """The events in their order, as those of this replica; None for one that makes no sense."""
        return (_event(raw, replica, at_s) for raw in self.raw)


def read(payload: bytes) -> Batch:
    """A batch, of whose events none has been looked at.

    Raises:
        ValueError: it is no batch.
    """
    try:
        batch = _batch.decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    return Batch(batch.data_parallel_rank, tuple(batch.events))


def _event(raw: Raw, replica: str, at_s: float) -> WireEvent | None:
    try:
        return _named(_array.decode(raw) if _is_array(memoryview(raw)) else _map.decode(raw), replica, at_s)
    except (msgspec.MsgspecError, OverflowError, ValueError):
        return None


def _named(
    event: _StoredMap | _RemovedMap | _ClearedMap | _StoredArray | _RemovedArray | _ClearedArray,
    replica: str,
    at_s: float,
) -> WireEvent:
    match event:
        case _StoredMap() | _StoredArray():
            extras = event.extra_keys
            return BlocksStored(
                at_s,
                replica,
                event.medium or GPU,
                event.block_size,
                tuple(event.block_hashes),
                event.parent_block_hash,
                array("I", event.token_ids),
                None if extras is None else tuple(extras),
                event.lora_name,
                event.group_idx,
                event.kv_cache_spec_kind,
            )
        case _RemovedMap() | _RemovedArray():
            return BlocksRemoved(at_s, replica, event.medium or GPU, tuple(event.block_hashes), event.group_idx)
        case _:
            return CacheCleared(at_s, replica)


def _is_array(content: memoryview) -> bool:
    """Whether msgpack is an array; what a batch consists of is never empty."""
    return 0x90 <= content[0] <= 0x9F or content[0] in (0xDC, 0xDD)

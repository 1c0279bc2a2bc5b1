"""Vector search by the server, where it has RediSearch: nothing but the closest entries comes over the wire.

One index for each length of vector, over the hashes of all entries of a prefix, whoever wrote them. It is exact (FLAT):
an approximate one would answer otherwise than a copy does. Whether there is such a thing is asked on each new
connection, for a Redis that was restarted may have another mind.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from extproc.redis_link import RedisLink

from .embedders import Vector
from .entries import Near
from .lua import LAYOUT
from .records import entry_of, packed_vector

log = logging.getLogger(__name__)

_QUERY = "(@place:{$place})=>[KNN $count @v%d $vector AS distance]"


class _State(enum.Enum):
    UNKNOWN = enum.auto()
    ABSENT = enum.auto()
    FILLING = enum.auto()  # with the entries that were there before it
    READY = enum.auto()


@dataclass(slots=True)
class _Index:
    dims: int
    state: _State = _State.UNKNOWN
    asked_on: int = -1
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RediSearch:
    """Entries of a place by vector.

    Args:
        prefix: of all keys.
    """

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix
        self._connections = _Connections(link.client)
        self._indexes: dict[int, _Index] = {}
        self._told: bool | None = None

    async def nearest(self, place: bytes, vector: Vector, count: int) -> Sequence[Near] | None:
        """The entries most alike, the most similar first, without their vectors; None if this server cannot tell.

        Args:
            place: its name in keys.

        Raises:
            StoreDown: Redis cannot be asked.
        """
        index = self._indexes.setdefault(len(vector), _Index(len(vector)))
        for first in (True, False):
            if not await self._is_ready(index):
                break
            reply = await self._search(index, place, vector, count)
            if not isinstance(reply, ResponseError):
                return list(near_of(reply))
            if first:
                index.state = _State.UNKNOWN  # somebody may have dropped the index: it can be made again
            else:
                self._is_absent(index, reply)
        return None

    async def _is_ready(self, index: _Index) -> bool:
        if index.state in (_State.UNKNOWN, _State.FILLING) or index.asked_on != self._connections.made:
            async with index.asking:
                if index.state in (_State.UNKNOWN, _State.FILLING) or index.asked_on != self._connections.made:
                    await self._ask(index)
        return index.state is _State.READY

    async def _ask(self, index: _Index) -> None:
        """Makes the index unless another instance has, and finds out how far it is."""
        connections = self._connections.made
        hashes = ("ON", "HASH", "PREFIX", 1, f"{self._prefix}{LAYOUT}entry:")
        kind = ("VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", index.dims, "DISTANCE_METRIC", "IP")
        create = ("FT.CREATE", self._name(index), *hashes, "SCHEMA", "place", "TAG", f"v{index.dims}", *kind)
        created, described = await self._call(create, ("FT.INFO", self._name(index)))
        index.asked_on = connections
        if isinstance(created, ResponseError) and "already exists" not in str(created).lower():
            self._is_absent(index, created)
        elif is_filling(described):
            index.state = _State.FILLING
        else:
            index.state = _State.READY
            if not self._told:
                log.info("Redis searches the vectors of the semantic cache")
            self._told = True

    def _is_absent(self, index: _Index, error: ResponseError) -> None:
        """Tells of it once; and not at all of a Redis that never knew the command."""
        index.state = _State.ABSENT
        if self._told or (self._told is None and not str(error).lower().startswith("unknown command")):
            why = str(error).split(",")[0]  # Redis goes on with the arguments of the command
            log.warning("Redis does not search the vectors of the semantic cache (%s): they are copied here", why)
        self._told = False

    async def _search(self, index: _Index, place: bytes, vector: Vector, count: int) -> object:
        returned = ("RETURN", 3, "distance", "question", "learned", "SORTBY", "distance", "LIMIT", 0, count)
        given = ("PARAMS", 6, "place", place, "count", count, "vector", packed_vector(vector), "DIALECT", 2)
        (reply,) = await self._call(("FT.SEARCH", self._name(index), _QUERY % index.dims, *returned, *given))
        return reply

    async def _call(self, *commands: Sequence[str | bytes | int]) -> list[object]:
        """The replies, in one round trip. An error that Redis answers is one: the link would take it for a fault."""

        async def call(redis: Redis) -> list[object]:
            async with redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return await pipe.execute(raise_on_error=False)

        return await self._link.run(call)

    def _name(self, index: _Index) -> str:
        return f"{self._prefix}{LAYOUT}index:{index.dims}"


class _Connections:
    """Counts the connections that a client makes."""

    def __init__(self, redis: Redis) -> None:
        self.made = 0
        settings = redis.connection_pool.connection_kwargs
        self._before = settings.get("redis_connect_func")
        settings["redis_connect_func"] = self._connected

    async def _connected(self, connection: AbstractConnection) -> None:
        self.made += 1
        await (self._before(connection) if self._before else connection.on_connect())


def is_filling(described: object) -> bool:
    """From FT.INFO, in the shape of either protocol; a server that does not say has no such state."""
    return _number(_pairs(described).get(b"indexing", 0)) > 0


def near_of(reply: object) -> Iterator[Near]:
    """From FT.SEARCH: ``[total, id, fields, ...]``, or a map of them with RESP3. What is no entry is passed over."""
    for name, attributes in _rows(reply):
        fields = _pairs(attributes)
        question, learned = fields.get(b"question"), fields.get(b"learned")
        similarity = 1.0 - _number(fields.get(b"distance"))
        if isinstance(name, bytes) and isinstance(question, bytes) and math.isfinite(similarity):
            entry = entry_of(name[-64:], question, None, learned if isinstance(learned, bytes) else None)
            if entry is not None:
                yield Near(entry, similarity)


def _rows(reply: object) -> list[tuple[object, object]]:
    if isinstance(reply, list):
        return list(zip(reply[1::2], reply[2::2], strict=False))
    results = _pairs(reply).get(b"results")
    found = [_pairs(row) for row in results] if isinstance(results, list) else []
    return [(row.get(b"id"), row.get(b"extra_attributes")) for row in found]


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (bytes, str, int, float)) else math.nan
    except ValueError:
        return math.nan


def _pairs(value: object) -> dict[bytes, object]:
    if isinstance(value, Mapping):
        return {_bytes(key): item for key, item in value.items()}
    if isinstance(value, list):
        return {_bytes(key): item for key, item in zip(value[::2], value[1::2], strict=False)}
    return {}


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()

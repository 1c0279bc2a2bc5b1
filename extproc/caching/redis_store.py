"""Answers in Redis, shared by instances.

Keys, under a prefix: ``answer:<key>`` an entry, ``lease:<key>`` who asks upstream for it, ``flushes`` and
``flushes:<scope>`` how often everything and a scope were flushed. An entry begins with both numbers as they were when
its request came by; it is one only while they still are. So a flush is one INCR, a look-up one MGET.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from redis.asyncio import Redis

from extproc.redis_link import RedisLink, StoreDown

from .answer import Answer, NotAnAnswer, pack, unpack
from .store import Claim, Epoch, Found, StoreStats

_EPOCH = struct.Struct(">QQ")
_SLOW_BYTES = 64 << 10
"""Compressing more than this would hold the event loop for milliseconds: a thread does it."""

_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RENEWALS_MISSED = 3
"""So many, and a lease is somebody else's: the process that had it is gone, or as slow as if it were."""


@dataclass(frozen=True, slots=True)
class _Put:
    key: bytes
    answer: Answer
    ttl_ms: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class _Release:
    key: bytes
    token: str


@dataclass(frozen=True, slots=True)
class _Renew:
    key: bytes
    token: str


_Work = _Put | _Release | _Renew


class RedisStore:
    """An AnswerStore and its Leases. Nothing is written unless `run` runs.

    Args:
        prefix: of all keys, so that several gateways may share a Redis.
        max_answer_bytes: a larger answer is not stored.
        max_waiting_bytes: answers that wait to be written; beyond that they are dropped.
        renew_s: how often a lease is renewed. Whoever waits for an instance that died waits three times that.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        prefix: str = "kvgate:",
        max_answer_bytes: int = 1 << 20,
        max_waiting_bytes: int = 32 << 20,
        renew_s: float = 1.0,
    ) -> None:
        self._link = link
        self._prefix = prefix.encode()
        self._max_answer_bytes = max_answer_bytes
        self._max_waiting_bytes = max_waiting_bytes
        self._renew_s = renew_s
        self._leases: dict[str, float] = {}  # token -> until when it is renewed, by the event loop's clock
        self._waiting: deque[_Work] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hits = self._misses = self._stored = self._garbage = self._dropped = 0

    async def get(self, key: bytes, scope: str) -> Found | None:
        names = self._names(key, scope)
        try:
            values = await self._link.run(lambda redis: redis.mget(names))
        except StoreDown:
            return None
        found = await self._found(values)
        self._misses += found.answer is None
        return found

    def put(self, key: bytes, scope: str, answer: Answer, ttl_s: float, epoch: Epoch) -> None:
        size = len(answer.body)
        if size > self._max_answer_bytes or self._waiting_bytes + size > self._max_waiting_bytes:
            self._dropped += 1
            return
        self._waiting_bytes += size
        self._later(_Put(key, answer, _ms(ttl_s), epoch))

    async def claim(self, key: bytes, scope: str, token: str, lease_s: float) -> Claim | None:
        lease, names = self._lease(key), self._names(key, scope)
        lasts_s = min(lease_s, self._lasts_s)

        async def ask(redis: Redis) -> list[Any]:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.set(lease, token, nx=True, px=_ms(lasts_s))
                pipe.mget(names)
                return await pipe.execute()

        try:
            won, values = await self._link.run(ask)
        except StoreDown:
            return None
        if won:
            self._leases[token] = asyncio.get_running_loop().time() + lease_s
            self._renew_later(key, token)
        return Claim(await self._found(values), bool(won))

    def release(self, key: bytes, token: str) -> None:
        self._leases.pop(token, None)
        self._later(_Release(key, token))

    async def flush(self, scope: str | None) -> None:
        name = self._name(b"flushes") if scope is None else self._flushes_of(scope)
        await self._link.run(lambda redis: redis.incr(name))

    def stats(self) -> StoreStats:
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            stored=self._stored,
            evicted=0,
            garbage=self._garbage,
            dropped=self._dropped,
        )

    async def run(self) -> None:
        """Writes what was put, in order, until it is cancelled. What Redis does not take is dropped and counted."""
        while True:
            await self._wake.wait()
            while self._waiting:
                # A task of its own: `wait_for` of Python 3.11 may swallow a cancellation, and this loop would go on.
                writing = asyncio.ensure_future(self._write(self._waiting.popleft()))
                await asyncio.wait((writing,))
                writing.result()
            self._wake.clear()
            self._idle.set()

    async def written(self) -> None:
        """Waits until nothing waits to be written any more: before a stop, and in tests."""
        await self._idle.wait()

    @property
    def _lasts_s(self) -> float:
        return _RENEWALS_MISSED * self._renew_s

    def _renew_later(self, key: bytes, token: str) -> None:
        asyncio.get_running_loop().call_later(self._renew_s, self._renew, key, token)

    def _renew(self, key: bytes, token: str) -> None:
        until_s = self._leases.get(token, 0.0)
        if asyncio.get_running_loop().time() + self._lasts_s >= until_s:
            self._leases.pop(token, None)  # given back, or in its last renewal
            return
        self._later(_Renew(key, token))
        self._renew_later(key, token)

    def _later(self, work: _Work) -> None:
        self._waiting.append(work)
        self._idle.clear()
        self._wake.set()

    async def _write(self, work: _Work) -> None:
        try:
            if isinstance(work, _Release):
                await self._link.run(lambda redis: redis.eval(_RELEASE, 1, self._lease(work.key), work.token))
                return
            if isinstance(work, _Renew):
                lasts_ms = _ms(self._lasts_s)
                await self._link.run(lambda redis: redis.eval(_RENEW, 1, self._lease(work.key), work.token, lasts_ms))
                return
            self._waiting_bytes -= len(work.answer.body)
            value = _EPOCH.pack(work.epoch.everything, work.epoch.scope) + await self._packed(work.answer)
            name = self._name(b"answer:", work.key.hex().encode())
            await self._link.run(lambda redis: redis.set(name, value, px=work.ttl_ms))
            self._stored += 1
        except StoreDown:
            self._dropped += isinstance(work, _Put)

    async def _packed(self, answer: Answer) -> bytes:
        return await asyncio.to_thread(pack, answer) if len(answer.body) > _SLOW_BYTES else pack(answer)

    async def _found(self, values: Sequence[Any]) -> Found:
        all_flushes, scope_flushes, entry = values
        epoch = Epoch(_number(all_flushes), _number(scope_flushes))
        answer = None
        if entry is not None:
            try:
                answer = await self._read(entry, epoch)
            except NotAnAnswer:
                self._garbage += 1
        self._hits += answer is not None
        return Found(answer, epoch)

    async def _read(self, entry: bytes, epoch: Epoch) -> Answer | None:
        if len(entry) < _EPOCH.size:
            raise NotAnAnswer("too short")
        if _EPOCH.unpack_from(entry) != (epoch.everything, epoch.scope):
            return None
        packed = entry[_EPOCH.size :]
        answer = await asyncio.to_thread(unpack, packed) if len(packed) > _SLOW_BYTES else unpack(packed)
        if len(answer.body) > self._max_answer_bytes:
            raise NotAnAnswer("too large")
        return answer

    def _names(self, key: bytes, scope: str) -> list[bytes]:
        return [self._name(b"flushes"), self._flushes_of(scope), self._name(b"answer:", key.hex().encode())]

    def _lease(self, key: bytes) -> bytes:
        return self._name(b"lease:", key.hex().encode())

    def _flushes_of(self, scope: str) -> bytes:
        # By digest: a tenant's name may hold anything, and need not be readable in Redis.
        return self._name(b"flushes:", blake3(scope.encode("utf-8", "surrogatepass")).hexdigest()[:32].encode())

    def _name(self, *words: bytes) -> bytes:
        return self._prefix + b"".join(words)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _number(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() and len(value) < 19 else 0

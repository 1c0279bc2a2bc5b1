"""One Redis, as something that may be slow or gone: calls that fail fast, are told of once, and find their way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from extproc.clock import Clock

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class StoreDown(Exception):
    """Redis cannot be asked now. What that means for a request is for the caller to say."""


class RedisLink:
    """A pool of connections with a breaker in front.

    After a call that failed, nothing is sent for a while, twice as long each time, so that a Redis that is gone costs
    requests no time; then one call alone tries again. A call that takes longer than the timeout has failed: whether
    Redis carried it out is not known.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes them; may hold a password, so never logged.
        timeout_s: for one call, connecting included.

    Raises:
        ValueError: the URL has another scheme.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: float = 0.5, connections: int = 64) -> None:
        # A tenth of a second that a gateway without Redis need not wait for.
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # one command less on each new connection
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._faults = (RedisError, OSError, asyncio.TimeoutError)
        self._clock = clock
        self._timeout_s = timeout_s
        self._pause_s = 0.0
        self._ask_after_s = 0.0
        self._trying = False
        self._changes = 0
        self.failures = 0

    @property
    def client(self) -> Redis:
        """For `register_script` and the like; calls go through `run`."""
        return self._redis

    @property
    def down(self) -> bool:
        """Whether the latest call failed."""
        return self._pause_s > 0

    async def run(self, call: Callable[[Redis], Awaitable[T]]) -> T:
        """Makes a call.

        Raises:
            StoreDown: it failed, or was not made because those before it failed.
        """
        probing = self.down
        if probing and (self._trying or self._clock.now() < self._ask_after_s):
            raise StoreDown("Redis cannot be asked at the moment")
        self._trying = self._trying or probing
        changes = self._changes  # a call that began before the latest one says nothing of how it is now
        try:
            result = await asyncio.wait_for(self._afresh(call) if probing else call(self._redis), self._timeout_s)
        except self._faults as error:
            self.failures += 1
            if changes == self._changes:
                self._failed(error)
            raise StoreDown(f"Redis: {type(error).__name__}") from None
        finally:
            if probing:
                self._trying = False
        if changes == self._changes:
            self._succeeded()
        return result

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _afresh(self, call: Callable[[Redis], Awaitable[T]]) -> T:
        """The call, on a new connection: idle ones to a Redis that has gone fail as late as they are used."""
        await self._redis.connection_pool.disconnect(inuse_connections=False)
        return await call(self._redis)

    def _failed(self, error: BaseException) -> None:
        if not self.down:
            log.warning("Redis does not answer (%s); going on without it", type(error).__name__)
            self._pause_s = _FIRST_PAUSE_S
            self._changes += 1
        else:
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)
        self._ask_after_s = self._clock.now() + self._pause_s

    def _succeeded(self) -> None:
        if self.down:
            log.warning("Redis answers again")
            self._pause_s = 0.0
            self._changes += 1

"""Lua scripts as Redis knows them: by digest, sent whole only to a Redis that has not seen them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = str | int | float
Call = tuple[Sequence[str], Sequence[Argument]]
"""Keys and arguments."""


class Script:
    """One script.

    Args:
        source: Lua.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha1 = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def call(self, redis: Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> list[int]:
        """Runs it, in one round trip; in two after a restart of Redis."""
        try:
            reply = await redis.evalsha(self.sha1, len(keys), *keys, *arguments)
        except NoScriptError:
            reply = await redis.eval(self.source, len(keys), *keys, *arguments)
        return list(reply)

    async def call_many(self, redis: Redis, calls: Sequence[Call]) -> list[list[int]]:
        """Runs it so many times in one round trip. After a restart of Redis those that failed are run again.

        Raises:
            RedisError: of the first call that failed; others may have been carried out.
        """
        replies = await self._pipelined(redis, calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await redis.script_load(self.source)
            again = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            for number, reply in zip(again, await self._pipelined(redis, [calls[n] for n in again]), strict=True):
                replies[number] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [reply for reply in replies if not isinstance(reply, Exception)]

    async def _pipelined(self, redis: Redis, calls: Sequence[Call]) -> list[list[int] | Exception]:
        async with redis.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(self.sha1, len(keys), *keys, *arguments)
            return list(await pipeline.execute(raise_on_error=False))


def _read(name: str) -> Script:
    folder = Path(__file__).with_name("lua")
    return Script((folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text())


ADMIT, SETTLE, RESET = _read("admit"), _read("settle"), _read("reset")

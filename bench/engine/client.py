"""Asks the questions, so many at a time, and notes what came of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.common.chat import Reply, ask

_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Served:
    """All answers.

    Args:
        replies: in the order of the questions.
        wall_s: from the first sent to the last answered.
    """

    replies: tuple[Reply, ...]
    wall_s: float


def serve(url: str, bodies: Sequence[dict[str, Any]], concurrency: int, answered: Callable[[], None]) -> Served:
    """Sends all, in order, a new one whenever one is answered.

    Args:
        answered: called after each.
    """
    return asyncio.run(_serve(url, bodies, concurrency, answered))


async def _serve(url: str, bodies: Sequence[dict[str, Any]], concurrency: int, answered: Callable[[], None]) -> Served:
    replies: list[Reply] = [Reply()] * len(bodies)
    waiting = iter(enumerate(bodies))
    timeout = aiohttp.ClientTimeout(_TIMEOUT_S)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:

        async def work() -> None:
            for place, body in waiting:
                replies[place] = await ask(http, body)
                answered()

        begun_s = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        return Served(tuple(replies), time.perf_counter() - begun_s)

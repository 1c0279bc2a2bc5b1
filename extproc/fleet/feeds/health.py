"""Which replicas have become able to serve: those in doubt are asked on their own health page until they say so.

Envoy checks health too, but its override_host policy sends a request to the replica that was named, healthy or not. So
the brain must not name one in doubt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import aiohttp

from extproc.clock import Clock
from extproc.fleet.events import ReplicaProven
from extproc.fleet.state import Fleet

log = logging.getLogger(__name__)

_INTERVAL_S = 0.25
_ANSWER_WITHIN_S = 2.0


class HealthFeed:
    """Asks every replica that is not proven, and applies `ReplicaProven` when it answers 200.

    Args:
        urls: gives the health page of each replica by name; None for one that has none and is taken at its word.
    """

    def __init__(self, fleet: Fleet, urls: Callable[[], Mapping[str, str | None]], clock: Clock) -> None:
        self._fleet = fleet
        self._urls = urls
        self._clock = clock

    async def run(self) -> None:
        """Asks for ever."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.gather(*(self._ask(session, url, names) for url, names in self._doubtful().items()))
                await asyncio.sleep(_INTERVAL_S)

    def _doubtful(self) -> dict[str | None, list[str]]:
        """Replicas in doubt by their page: data-parallel ranks share that of their process."""
        now_s, urls = self._clock.now(), self._urls()
        doubtful: dict[str | None, list[str]] = {}
        for name, state in self._fleet.replicas.items():
            if not state.proven and state.ask_after_s <= now_s and name in urls:
                doubtful.setdefault(urls[name], []).append(name)
        return doubtful

    async def _ask(self, session: aiohttp.ClientSession, url: str | None, names: list[str]) -> None:
        if url is None or await _is_healthy(session, url):
            for name in names:
                self._fleet.apply(ReplicaProven(self._clock.now(), name))
                log.info("replica %s serves", name)


async def _is_healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, allow_redirects=False) as response:
            return response.status == 200
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        log.debug("%s: %s", url, error)
        return False

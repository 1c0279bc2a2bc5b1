"""When a replica that joins can serve: its own health page, asked until it says so.

Only newcomers are asked. Once a replica serves, Envoy checks it and its requests tell how it is.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 2.0
_ANSWER_WITHIN_S = 2.0


async def until_healthy(url: str) -> None:
    """Returns as soon as a GET of `url` answers 200."""
    wait_s = _FIRST_WAIT_S
    timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not await _is_healthy(session, url):
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)


async def _is_healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, allow_redirects=False) as response:
            return response.status == 200
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        log.debug("%s: %s", url, error)
        return False

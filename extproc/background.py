"""What goes on beside the requests: tasks that run for as long as the processor serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Background:
    """Keeps tasks running. One that fails is told of and begun anew after a pause.

    Args:
        pause_s: so that what fails at once does not fill the log.
    """

    def __init__(self, *, pause_s: float = 1.0) -> None:
        self._pause_s = pause_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        """Runs something until it returns.

        Args:
            what: names it in the log.
        """
        self._tasks.append(asyncio.create_task(self._keep(what, run), name=what))

    async def stop(self) -> None:
        """Ends all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await run()
            except Exception:
                log.exception("%s failed; begun anew in %g s", what, self._pause_s)
            await asyncio.sleep(self._pause_s)

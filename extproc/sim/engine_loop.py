"""Runs an engine on a real clock, inside an asyncio event loop.

Steps follow each other at the times the model says, not when a timer happens to fire, so timer jitter does not add up.
An engine that takes no time runs to the end inside `submit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from extproc.clock import Clock
from extproc.sim.engine import Engine
from extproc.sim.requests import KvEvent, Request

# A process that was stopped for longer than this does not make up for lost time.
_MAX_LAG_S = 0.05
# What a "slow" engine's step lasts at least before it is slowed down: an engine without latency is slow, too.
_MIN_SLOWED_STEP_S = 0.001


class Progress:
    """Wakes one waiting coroutine whenever one of its generations moves."""

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def changed(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Generation:
    """What the engine has done so far for one request."""

    __slots__ = ("cached_tokens", "finished", "first_token_s", "progress", "request", "slowdown", "tokens")

    def __init__(self, request: Request, progress: Progress, slowdown: float) -> None:
        self.request = request
        self.progress = progress
        self.slowdown = slowdown
        self.tokens = 0
        self.cached_tokens = 0
        self.first_token_s: float | None = None
        self.finished = False


class EngineLoop:
    """The driver of one engine.

    Args:
        on_events: called after each step that stored, removed or cleared blocks.
    """

    def __init__(self, engine: Engine, clock: Clock, on_events: Callable[[list[KvEvent]], None] | None = None) -> None:
        self.engine = engine
        self.clock = clock
        self._on_events = on_events
        self._generations: dict[str, Generation] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ends_s = 0.0

    def submit(self, requests: Iterable[Request], progress: Progress, slowdown: float = 1.0) -> list[Generation]:
        """Hand requests to the engine; `progress` is notified of every step of any of them.

        Raises:
            ValueError: one could never fit in the cache; none was taken.
        """
        generations: list[Generation] = []
        try:
            for request in requests:
                self.engine.submit(request)
                generations.append(Generation(request, progress, slowdown))
                self._generations[request.id] = generations[-1]
        except ValueError:
            for generation in generations:
                self.abort(generation)
            raise
        if self._timer is None:
            self._run(idle=True)
        return generations

    def abort(self, generation: Generation) -> bool:
        """Take an unfinished request out of the engine; False if it was finished."""
        self._generations.pop(generation.request.id, None)
        return self.engine.abort(generation.request.id, self.clock.now())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self, *, idle: bool) -> None:
        """Take steps until one lasts some time, or there is nothing left to do."""
        now = self.clock.now()
        start_s = now if idle or now - self._ends_s > _MAX_LAG_S else self._ends_s
        while (duration_s := self.engine.begin_step(start_s)) is not None:
            duration_s = self._slowed(duration_s)
            if duration_s:
                self._ends_s = start_s + duration_s
                self._timer = asyncio.get_running_loop().call_later(max(0.0, self._ends_s - now), self._step_ended)
                return
            self._finish_step(start_s)

    def _step_ended(self) -> None:
        self._timer = None
        self._finish_step(self._ends_s)
        self._run(idle=False)

    def _finish_step(self, now: float) -> None:
        for output in self.engine.finish_step(now):
            generation = self._generations[output.request_id]
            generation.tokens += output.new_tokens
            generation.cached_tokens = output.cached_tokens
            if output.first:
                generation.first_token_s = self.clock.now()
            if output.finished:
                generation.finished = True
                del self._generations[output.request_id]
            generation.progress.notify()
        if self._on_events is not None and (events := self.engine.take_events()):
            self._on_events(events)

    def _slowed(self, duration_s: float) -> float:
        slowdown = max((generation.slowdown for generation in self._generations.values()), default=1.0)
        return duration_s if slowdown == 1.0 else max(duration_s, _MIN_SLOWED_STEP_S) * slowdown

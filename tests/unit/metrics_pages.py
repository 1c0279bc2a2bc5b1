"""Servers of metrics pages that answer as they are told, and the feed that reads them in a time that tests let pass."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

from extproc.clock import ManualClock
from extproc.fleet.events import CapacityReported, Event, LoadReported
from extproc.fleet.feeds.engine_metrics import EngineMetrics
from tests.ports import free_port
from tests.unit.sim.wire import eventually

WAITS_S = 600.0


class Time(ManualClock):
    """Moves to the next awakening whenever a given number of sleepers lies down."""

    def __init__(self) -> None:
        super().__init__()
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    async def sleep(self, seconds: float) -> None:
        bed = (self.now() + seconds, next(self._order), asyncio.get_running_loop().create_future())
        heapq.heappush(self._asleep, bed)
        try:
            await bed[2]
        finally:
            if bed in self._asleep:
                self._asleep.remove(bed)
                heapq.heapify(self._asleep)

    async def all_asleep(self, sleepers: int) -> None:
        await eventually(lambda: len(self._asleep) == sleepers)

    def _wake_next(self) -> None:
        until_s, _, bed = heapq.heappop(self._asleep)
        self.advance(until_s - self.now())
        bed.set_result(None)

    async def until(self, holds: Callable[[], bool], sleepers: int = 2) -> None:
        """Lets time pass; the feed itself and each of its replicas are a sleeper."""
        for _ in range(2000):
            await eventually(lambda: holds() or len(self._asleep) == sleepers)
            if holds():
                return
            self._wake_next()
        raise AssertionError("it never did")


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def page(body: str | bytes, status: str = "200 OK", **headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else body
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{named}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()

    return answer


def raw(content: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()

    return answer


async def headers_then_nothing(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nvllm:num_requests_running")
    await asyncio.sleep(WAITS_S)


def vllm(running: int = 0, waiting: int = 0, kv_usage: float = 0.0, kv_tokens: int | None = 6400) -> Answer:
    capacity = (
        "" if kv_tokens is None else f'vllm:cache_config_info{{block_size="16",kv_cache_size_tokens="{kv_tokens}"}} 1\n'
    )
    return page(
        f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n"
        f"vllm:kv_cache_usage_perc {kv_usage}\n{capacity}"
    )


class Engine:
    """A server that answers whatever it is told to, and counts."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.answer = answer
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/metrics"
        self.connections = 0
        self.heads: list[bytes] = []
        self._served: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while not writer.is_closing():
                    self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await self.answer(writer)
        finally:
            writer.transport.abort()
            self._served.discard(task)

    async def __aenter__(self) -> Engine:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        served = list(self._served)
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        await self._server.wait_closed()


class Feed:
    """The feed with everything that it is given and gives."""

    def __init__(self, targets: dict[str, str | None], answer_within_s: float = 5.0) -> None:
        self.time = Time()
        self.targets = targets
        self.ranks: dict[str, tuple[str, ...]] = {}
        self.busy: set[str] = set()
        self.events: list[Event] = []
        self.faults: list[tuple[str, str]] = []
        self.refuse: Exception | None = None
        self.metrics = EngineMetrics(
            lambda: self.targets,
            self._apply,
            self.time,
            self.busy.__contains__,
            lambda replica, kind: self.faults.append((replica, kind)),
            ranks=lambda: self.ranks,
            answer_within_s=answer_within_s,
            sleep=self.time.sleep,
        )

    def _apply(self, event: Event) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.events.append(event)

    @property
    def loads(self) -> list[LoadReported]:
        return [event for event in self.events if isinstance(event, LoadReported)]

    @property
    def capacities(self) -> list[int | None]:
        return [event.kv_tokens for event in self.events if isinstance(event, CapacityReported)]

    async def readings(self, number: int, sleepers: int = 2) -> None:
        """Lets time pass until so many more loads are reported."""
        wanted = len(self.loads) + number
        await self.time.until(lambda: len(self.loads) >= wanted, sleepers)

    async def fault(self, number: int = 1) -> None:
        wanted = len(self.faults) + number
        await self.time.until(lambda: len(self.faults) >= wanted)


@asynccontextmanager
async def reading(targets: dict[str, str | None], answer_within_s: float = 5.0) -> AsyncIterator[Feed]:
    feed = Feed(targets, answer_within_s)
    task = asyncio.create_task(feed.metrics.run())
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

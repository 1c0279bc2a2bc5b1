"""Every engine's own /metrics page -> `LoadReported` and `CapacityReported`.

Each engine process is read by a task of its own, over one connection and one request at a time, so none waits for
another that is slow; the page of a process with data-parallel ranks speaks of each of them. How often depends on how
much there is to see: twice a second while the gateway has requests there, ever less while it is idle or silent.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal

import aiohttp

from extproc.clock import Clock
from extproc.fleet.events import CapacityReported, Event, LoadReported
from extproc.fleet.feeds.metrics_page import EngineReport, read

log = logging.getLogger(__name__)

FaultKind = Literal["unreachable", "timeout", "status", "too large", "malformed", "no metrics"]

Capacity = tuple[int | None, int | None]
"""Tokens in the KV cache, and in one of its blocks; None where the engine does not say."""

_Wanted = tuple[str, str, tuple[str, ...]]
"""A process's name, the URL of its page, and the names of its ranks."""

_ANSWER_WITHIN_S = 2.0
_MOST_BYTES = 2 * 1024 * 1024
_LOOK_FOR_CHANGES_S = 0.5

_BUSY_S = 0.5
_IDLE_S = 5.0
_FAILING_S = 30.0
_NO_METRICS_S = 60.0
_JITTER = 0.1
_LONGEST_NAP_S = _BUSY_S * (1.0 + _JITTER)


class NoReading(Exception):
    """Why a page gave no reading: the kind that is counted, and words for the log."""

    def __init__(self, kind: FaultKind, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind


class Interval:
    """How long to wait until the next reading of one replica, in seconds.

    Jitter, drawn from the replica's name, keeps a fleet that came up at once from being read in step.
    """

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)
        self._mean_s = _BUSY_S

    def first_s(self) -> float:
        return self._random.uniform(0.0, _BUSY_S)

    def after_reading_s(self, busy: bool) -> float:
        self._mean_s = _BUSY_S if busy else min(self._mean_s * 1.5, _IDLE_S)
        return self._jittered_s()

    def after_fault_s(self, kind: FaultKind) -> float:
        self._mean_s = _NO_METRICS_S if kind == "no metrics" else min(self._mean_s * 2.0, _FAILING_S)
        return self._jittered_s()

    def _jittered_s(self) -> float:
        return self._mean_s * self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER)


class _Page:
    """One process's page, and those it speaks of.

    Args:
        ranks: the names of its data-parallel ranks, in their order; none: it has but one, and goes by its own name.
    """

    def __init__(self, name: str, url: str, ranks: Sequence[str]) -> None:
        self.name = name
        self.url = url
        self.ranks = len(ranks)
        self.replicas = [_Replica(each) for each in ranks or (name,)]
        self.interval = Interval(name)
        self.fault: FaultKind | None = None


class _Replica:
    """What was heard of one replica, or one rank of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kv_usage = 0.0
        self.reported: Capacity | None = (None, None)
        """What the fleet was told; None once the replica was out of reach: it may have come back as another."""


class EngineMetrics:
    """Reads the metrics pages of all replicas, for ever.

    Args:
        targets: gives the full URL of each process's page by name, None for one that has none; asked at every reading.
        apply: takes the events.
        busy: whether the gateway has requests in flight at a replica.
        faults: counts, by process and kind, what kept a page from being read. "no metrics" is counted once until that
            changes, the others every time. "malformed" is also counted for a page of which only a part makes sense.
        ranks: gives the names of the data-parallel ranks, in their order, of each process that has several.
        answer_within_s: for a page as a whole.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        targets: Callable[[], Mapping[str, str | None]],
        apply: Callable[[Event], None],
        clock: Clock,
        busy: Callable[[str], bool],
        faults: Callable[[str, FaultKind], None],
        *,
        ranks: Callable[[], Mapping[str, Sequence[str]]] = dict,
        answer_within_s: float = _ANSWER_WITHIN_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._targets = targets
        self._apply = apply
        self._clock = clock
        self._busy = busy
        self._faults = faults
        self._ranks = ranks
        self._answer_within_s = answer_within_s
        self._sleep = sleep

    async def run(self) -> None:
        """Reads until cancelled; takes replicas up and lets go of them as the targets change."""
        tasks: dict[_Wanted, asyncio.Task[None]] = {}
        async with self._session() as session:
            try:
                while True:
                    await self._follow_targets(session, tasks)
                    await self._sleep(_LOOK_FOR_CHANGES_S)
            finally:
                await _end(tasks.values())

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=1),
            timeout=aiohttp.ClientTimeout(total=self._answer_within_s),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _follow_targets(self, session: aiohttp.ClientSession, tasks: dict[_Wanted, asyncio.Task[None]]) -> None:
        ranks = self._ranks()
        wanted = {(name, url, tuple(ranks.get(name, ()))) for name, url in self._targets().items() if url is not None}
        over = [key for key, task in tasks.items() if key not in wanted or task.done()]
        await _end([tasks.pop(key) for key in over])
        for key in sorted(wanted - tasks.keys()):
            tasks[key] = asyncio.create_task(self._follow(session, _Page(*key)))

    async def _follow(self, session: aiohttp.ClientSession, page: _Page) -> None:
        """Reads one page for as long as it is a target."""
        await self._sleep(page.interval.first_s())
        while True:
            asked_s = self._clock.now()
            answer = await _ask(session, page)
            if self._targets().get(page.name) != page.url:
                return
            if isinstance(answer, NoReading):
                self._failed(page, answer, asked_s)
                await self._sleep(page.interval.after_fault_s(answer.kind))
            else:
                self._heard(page, answer, asked_s)
                await self._rest(page, page.interval.after_reading_s(self._is_busy(page)))

    def _is_busy(self, page: _Page) -> bool:
        return any(self._busy(replica.name) for replica in page.replicas)

    async def _rest(self, page: _Page, pause_s: float) -> None:
        """Waits, but not to the end for an idle process that becomes busy."""
        while pause_s > 0:
            nap_s = min(pause_s, _LONGEST_NAP_S)
            await self._sleep(nap_s)
            pause_s -= nap_s
            if self._is_busy(page):
                return

    def _heard(self, page: _Page, reports: Sequence[EngineReport], asked_s: float) -> None:
        for replica, report in zip(page.replicas, reports, strict=True):
            if report.kv_usage is not None:
                replica.kv_usage = report.kv_usage
            self._report_capacity(replica, (report.kv_tokens, report.block_size), asked_s)
            if report.running is not None and report.waiting is not None:
                self._apply(LoadReported(asked_s, replica.name, report.running, report.waiting, replica.kv_usage))
        unreadable = sum(report.unreadable for report in reports)
        if unreadable:
            self._count(page, NoReading("malformed", f"{unreadable} figures missing or impossible"))
        elif page.fault is not None:
            page.fault = None
            log.info("replica %s: metrics are read again", page.name)

    def _failed(self, page: _Page, fault: NoReading, asked_s: float) -> None:
        self._count(page, fault)
        for replica in page.replicas:
            if fault.kind == "no metrics":
                self._report_capacity(replica, (None, None), asked_s)
            else:
                replica.reported = None

    def _report_capacity(self, replica: _Replica, capacity: Capacity, asked_s: float) -> None:
        if capacity != replica.reported:
            replica.reported = capacity
            self._apply(CapacityReported(asked_s, replica.name, *capacity))

    def _count(self, page: _Page, fault: NoReading) -> None:
        if fault.kind != page.fault:
            log.warning("replica %s: metrics: %s", page.name, fault)
        if fault.kind != page.fault or fault.kind != "no metrics":
            self._faults(page.name, fault.kind)
        page.fault = fault.kind


async def _ask(session: aiohttp.ClientSession, page: _Page) -> list[EngineReport] | NoReading:
    """What the page says of each replica it speaks of, in their order."""
    url, numbers = page.url, range(page.ranks) if page.ranks else (None,)
    try:
        text = await _page(session, url)
        reports = [read(text, number, page.ranks) for number in numbers]
    except NoReading as fault:
        return fault
    except asyncio.TimeoutError:
        return NoReading("timeout", url)
    except aiohttp.ClientResponseError as error:
        return NoReading("malformed", f"not HTTP: {error.message}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return NoReading("unreachable", str(error) or type(error).__name__)
    if all(report.engine is not None for report in reports):
        return reports
    of_ranks = f", or not of {page.ranks} data-parallel ranks" if page.ranks else ""
    return NoReading("no metrics", f"{url} is the page of no engine known{of_ranks}")


async def _page(session: aiohttp.ClientSession, url: str) -> bytes:
    """What is at a URL, read no further than a page can be long."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise NoReading("no metrics" if response.status == 404 else "status", f"{url} answers {response.status}")
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise NoReading("malformed", f"{url} is encoded as {encoding}, unasked")
        page = bytearray()
        async for chunk in response.content.iter_any():
            page += chunk
            if len(page) > _MOST_BYTES:
                raise NoReading("too large", f"{url} is longer than {_MOST_BYTES} bytes")
        return bytes(page)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Ends tasks. One that failed is told of here, and is begun anew if its replica is still a target."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("reading a replica's metrics failed", exc_info=outcome)

"""The event loop: arrivals, ends of engine steps and metric reports, in order of virtual time.

Events at the same time are taken in a fixed order (ends of steps, fleet changes, arrivals, starts, reports, and among
those the one scheduled first), so a run depends on nothing but its arguments.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from bench.routing.fleet import FleetPlan
from bench.routing.policy import Policy
from bench.routing.request import BenchRequest, Workload
from extproc.sim import Engine, Request

_REPORT_EVERY_S = 1.0


class _Kind(IntEnum):
    STEP_ENDS = 0
    JOINS = 1
    LEAVES = 2
    ARRIVES = 3
    STARTS = 4
    REPORT = 5


@dataclass(slots=True)
class Served:
    """What became of one request. Times are of the virtual clock; a refused one has no replica."""

    request: BenchRequest
    arrived_s: float
    replica: int = -1
    first_s: float = 0.0
    finished_s: float = 0.0
    cached_tokens: int = 0


@dataclass(slots=True)
class Run:
    """What became of all requests, in order of arrival.

    Args:
        refused: requests that no engine could ever hold; they are refused before they are routed.
        busy_s: by replica, time in which its engine computed.
        ended_s: when the last answer was complete.
    """

    served: list[Served] = field(default_factory=list)
    refused: int = 0
    busy_s: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    preemptions: int = 0
    ended_s: float = 0.0


def drive(workload: Workload, plan: FleetPlan, engines: Sequence[Engine], policy: Policy) -> Run:
    """Serves a workload to its end.

    Raises:
        LookupError: the policy named a replica that is not up.
        RuntimeError: requests are left that nothing will ever serve.
    """
    loop = _Loop(workload, plan, engines, policy)
    loop.run()
    return loop.result


class _Replica:
    """An engine and when its step under way ends."""

    __slots__ = ("begun_s", "ends_s", "engine", "number", "starting", "up")

    def __init__(self, number: int, engine: Engine) -> None:
        self.number = number
        self.engine = engine
        self.up = False
        self.starting = False
        self.begun_s = 0.0
        self.ends_s: float | None = None


class _Loop:
    def __init__(self, workload: Workload, plan: FleetPlan, engines: Sequence[Engine], policy: Policy) -> None:
        self.result = Run(busy_s=[0.0] * plan.replicas, requests=[0] * plan.replicas)
        self._plan = plan
        self._policy = policy
        self._replicas = [_Replica(number, engine) for number, engine in enumerate(engines)]
        self._heap: list[tuple[float, int, int, object]] = []
        self._scheduled = 0
        self._now_s = 0.0
        self._under_way: dict[str, Served] = {}
        self._followers: dict[str, list[BenchRequest]] = {}
        self._queue: deque[BenchRequest] = deque()
        self._open = len(workload.requests)
        self._schedule_fleet()
        self._schedule_requests(workload)
        self._schedule(_REPORT_EVERY_S, _Kind.REPORT, None)

    def run(self) -> None:
        heap = self._heap
        takers: dict[int, Callable[[object], None]] = {
            _Kind.STEP_ENDS: self._step_ends,
            _Kind.JOINS: self._joins,
            _Kind.LEAVES: self._leaves,
            _Kind.ARRIVES: self._arrives,
            _Kind.STARTS: self._starts,
            _Kind.REPORT: self._report,
        }
        while self._open:
            self._now_s, kind, _, subject = heapq.heappop(heap)
            takers[kind](subject)
        self.result.preemptions = sum(replica.engine.stats.preemptions for replica in self._replicas)
        self.result.served.sort(key=lambda served: served.arrived_s)

    def _schedule(self, at_s: float, kind: _Kind, subject: object) -> None:
        self._scheduled += 1
        heapq.heappush(self._heap, (at_s, int(kind), self._scheduled, subject))

    def _schedule_fleet(self) -> None:
        joins = dict(self._plan.joins)
        for replica in self._replicas:
            if replica.number not in joins:
                self._joins(replica)
        for number, at_s in joins.items():
            self._schedule(at_s, _Kind.JOINS, self._replicas[number])
        for number, at_s in self._plan.leaves:
            self._schedule(at_s, _Kind.LEAVES, self._replicas[number])

    def _schedule_requests(self, workload: Workload) -> None:
        if workload.concurrency is not None:
            self._queue.extend(workload.requests)
            for _ in range(min(workload.concurrency, len(self._queue))):
                self._schedule(0.0, _Kind.ARRIVES, self._queue.popleft())
            return
        known: set[str] = set()
        for request in workload.requests:
            if request.after in known and request.after is not None:
                self._followers.setdefault(request.after, []).append(request)
            else:
                self._schedule(request.arrival_s, _Kind.ARRIVES, request)
            known.add(request.id)

    def _joins(self, subject: object) -> None:
        assert isinstance(subject, _Replica)
        subject.up = True
        self._policy.up(subject.number, subject.engine.settings.kv_tokens, self._now_s)

    def _leaves(self, subject: object) -> None:
        assert isinstance(subject, _Replica)
        subject.up = False
        self._policy.down(subject.number, self._now_s)

    def _arrives(self, subject: object) -> None:
        assert isinstance(subject, BenchRequest)
        served = Served(subject, self._now_s)
        self.result.served.append(served)
        if subject.total_tokens > self._plan.kv_tokens:
            self.result.refused += 1
            self._ended(subject)
            return
        number = self._policy.route(subject, self._now_s)
        if not 0 <= number < len(self._replicas) or not self._replicas[number].up:
            raise LookupError(f"replica {number} is not up")
        served.replica = number
        self.result.requests[number] += 1
        self._under_way[subject.id] = served
        self._submit(self._replicas[number], subject)

    def _submit(self, replica: _Replica, request: BenchRequest) -> None:
        engine = replica.engine
        engine.submit(
            Request(
                id=request.id,
                prompt_tokens=request.prompt_tokens,
                block_hashes=request.block_hashes,
                max_tokens=request.output_tokens,
                arrival_s=self._now_s,
                output_block_hashes=request.output_block_hashes,
            )
        )
        ends_s = engine.step_ends_s
        if ends_s is None:
            self._start_soon(replica)
        elif ends_s != replica.ends_s:  # the arrival has cut the step
            replica.ends_s = ends_s
            self._schedule(ends_s, _Kind.STEP_ENDS, replica)

    def _start_soon(self, replica: _Replica) -> None:
        """At this very time, but behind all that arrives at it: what comes together is scheduled together."""
        if not replica.starting:
            replica.starting = True
            self._schedule(self._now_s, _Kind.STARTS, replica)

    def _starts(self, subject: object) -> None:
        assert isinstance(subject, _Replica)
        subject.starting = False
        if subject.ends_s is not None or subject.engine.begin_step(self._now_s, fuse=True) is None:
            return
        subject.begun_s = self._now_s
        subject.ends_s = subject.engine.step_ends_s
        assert subject.ends_s is not None
        self._schedule(subject.ends_s, _Kind.STEP_ENDS, subject)

    def _step_ends(self, subject: object) -> None:
        assert isinstance(subject, _Replica)
        if subject.ends_s != self._now_s:
            return  # of a step that was cut since
        subject.ends_s = None
        self.result.busy_s[subject.number] += self._now_s - subject.begun_s
        freed = False
        for output in subject.engine.finish_step(self._now_s):
            if not (output.first or output.finished):
                continue
            served = self._under_way[output.request_id]
            if output.first:
                served.first_s = self._now_s
                served.cached_tokens = output.cached_tokens
                self._policy.first_token(served.request, subject.number, self._now_s)
            if output.finished:
                freed = True
                served.finished_s = self._now_s
                del self._under_way[output.request_id]
                self._policy.finished(served.request, subject.number, self._now_s, served.cached_tokens)
                self._ended(served.request)
        self._start_soon(subject)
        if freed and self._plan.shared_cache:
            for other in self._replicas:
                if other.ends_s is None and other.engine.busy:
                    self._start_soon(other)

    def _ended(self, request: BenchRequest) -> None:
        """Lets those come that waited for this one."""
        self._open -= 1
        self.result.ended_s = self._now_s
        for follower in self._followers.pop(request.id, ()):
            self._schedule(max(follower.arrival_s, self._now_s + follower.think_s), _Kind.ARRIVES, follower)
        if self._queue:
            self._schedule(self._now_s, _Kind.ARRIVES, self._queue.popleft())

    def _report(self, _: object) -> None:
        for replica in self._replicas:
            if replica.up:
                self._policy.report(replica.number, replica.engine.stats, self._now_s)
        if not self._heap and self._under_way:
            raise RuntimeError(f"{len(self._under_way)} requests will never be served")
        self._schedule(self._now_s + _REPORT_EVERY_S, _Kind.REPORT, None)

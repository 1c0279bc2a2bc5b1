"""What it takes to admit a request: limits of requests and tokens and a budget, of a key and of its tenant.

The step runs in this process, as it is; and over the wire, where the processor's own metric tells its time.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter_ns, thread_time_ns
from typing import Any

import orjson
import uvloop

from bench.overhead.wrk import Wrk
from bench.policy.hits import Post
from bench.policy.local import before_admission, local_gateway
from bench.policy.redis import Counts, Meter
from bench.policy.stage import INSTANT, Stage
from extproc.gateway.admit import Admit
from extproc.gateway.exchange import Exchange
from extproc.tenants.redis_ledger import RedisLedger

_BATCH = 250


@dataclass(frozen=True, slots=True)
class Admission:
    """One request: medians of batches, in microseconds. With Redis, wall time has the round trip in it.

    Args:
        settle_cpu_us: to say at its end what it took.
        round_trips: to Redis, as Redis counts them; None in memory.
        scripts: run there.
        settle_round_trips: of the writing behind, for one request.
        wire_step_us: mean time of the step in a gateway at one connection.
    """

    backend: str
    requests: int
    cpu_us: float
    wall_us: float
    settle_cpu_us: float
    round_trips: float | None
    scripts: float | None
    settle_round_trips: float | None
    wire_step_us: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_admission(stage: Stage, wrk: Wrk, *, seconds: float, batches: int) -> Admission:
    """In process and over the wire."""
    return uvloop.run(_in_process(stage, batches, _over_the_wire(stage, wrk, seconds)))


async def _in_process(stage: Stage, batches: int, wire_step_us: float) -> Admission:
    gateway, parts = local_gateway(stage.redis_url)
    exchanges = [await before_admission(gateway, _body()) for _ in range(_BATCH)]
    admit, ledger = Admit(parts.ledger), parts.ledger
    meter = Meter(stage.redis_url) if stage.redis_url else None

    async def flush() -> None:
        if isinstance(ledger, RedisLedger):
            await ledger.flush()

    cpu_us, wall_us, settle_us = [], [], []
    admitting, settling = Counts(0, 0), Counts(0, 0)
    for batch in range(-1, batches):  # the first one warms up
        for number, exchange in enumerate(exchanges):
            exchange.ticket = f"{batch}-{number}"
        before = meter.read() if meter else None
        took = await _timed(admit, exchanges)
        between = meter.read() if meter else None
        released_ns = thread_time_ns()
        for exchange in exchanges:
            admit.release(exchange)
        released_ns = thread_time_ns() - released_ns
        await flush()
        after = meter.read() if meter else None
        if batch < 0:
            continue
        cpu_us.append(took[0])
        wall_us.append(took[1])
        settle_us.append(released_ns / _BATCH / 1000)
        if before and between and after:
            admitting = Counts(*_sum(admitting, between - before))
            settling = Counts(*_sum(settling, after - between))
    for close in parts.closing:
        await close()
    requests = batches * _BATCH
    return Admission(
        stage.name,
        requests,
        statistics.median(cpu_us),
        statistics.median(wall_us),
        statistics.median(settle_us),
        admitting.reads / requests if meter else None,
        admitting.scripts / requests if meter else None,
        settling.reads / requests if meter else None,
        wire_step_us,
    )


async def _timed(admit: Callable[[Exchange], Awaitable[None]], exchanges: Sequence[Exchange]) -> tuple[float, float]:
    """CPU and wall time of one, in microseconds."""
    cpu_ns, wall_ns = thread_time_ns(), perf_counter_ns()
    for exchange in exchanges:
        await admit(exchange)
    wall_ns, cpu_ns = perf_counter_ns() - wall_ns, thread_time_ns() - cpu_ns
    return cpu_ns / len(exchanges) / 1000, wall_ns / len(exchanges) / 1000


def _over_the_wire(stage: Stage, wrk: Wrk, seconds: float) -> float:
    gateway = stage.limiting[0]
    case = Post("limited", 1, _body())
    wrk.run(gateway.url, case, 1.0)

    def totals() -> tuple[float, float]:
        return (
            gateway.metric("kvgate_step_seconds_sum", step="admit"),
            gateway.metric("kvgate_step_seconds_count", step="admit"),
        )

    before = totals()
    wrk.run(gateway.url, case, seconds)
    after = totals()
    return (after[0] - before[0]) / (after[1] - before[1]) * 1e6


def _body() -> bytes:
    return orjson.dumps(
        {"model": INSTANT, "max_tokens": 16, "messages": [{"role": "user", "content": "Tell me a story. " * 20}]}
    )


def _sum(one: Counts, other: Counts) -> tuple[int, int]:
    return one.reads + other.reads, one.scripts + other.scripts

"""The grid: every workload at three cache sizes and four load levels.

Fixed before the gateway's own policies ran on it, and not to be tuned afterwards. A first version, which some baselines
had run on, was rescaled once, because even the oracle lines were overloaded from 0.5 on.
Now they cope with most points.

Cache sizes are the fleet's, as shares of the workload's working set (the tokens of all its distinct blocks), except for
the conversation trace, where they are blocks of 512 tokens a replica; no replica is smaller than twice the largest
request. Load levels are the prefill utilisation of an ideal fleet, one that hits like a single LRU cache of the fleet's
size and wastes nothing, in the busiest fifth of the run (`sizing`). Arrival times stay as they are, the engines'
prefill speed varies. Decode comes on top, so 0.9 is a fleet at its limit, and what a policy misses of the cache pushes
it over. The two image experiments are closed loops: they slow down instead of queueing, and their level is that of a
fleet without any cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.routing.fleet import FleetPlan
from bench.routing.request import Workload
from bench.routing.sizing import (
    closed_prefill_tokens_per_s,
    largest_request_tokens,
    open_prefill_tokens_per_s,
    pooled_uncached_tokens,
    working_set_tokens,
)
from bench.routing.workloads import CONVERSATION_TRACE, NAMES, make

SEED = 20261122
CACHES = ("tight", "medium", "roomy")
LOADS = (0.3, 0.5, 0.7, 0.9)
QUICK_CACHES = ("medium",)
QUICK_LOADS = (0.5, 0.9)
DECODE_TOKENS_PER_S = 60.0

_IMAGES = (0.5, 0.8, 1.6)
_TALKS = (0.2, 0.4, 0.8)
_CONVERSATION_BLOCKS = (600, 1500, 4000)


@dataclass(frozen=True, slots=True)
class Shape:
    """A workload's fleet.

    Args:
        shares: cache sizes as shares of the working set; empty for the conversation trace.
        speeds: of each replica; empty if all are ordinary.
        joins: share of the run after which the last replica joins.
        leaves: share of the run after which the last replica leaves; it finishes what it has.
    """

    replicas: int
    shares: tuple[float, ...] = _TALKS
    speeds: tuple[float, ...] = ()
    joins: float | None = None
    leaves: float | None = None


SHAPES = {
    "conversation": Shape(8, shares=()),
    "images_12": Shape(2, shares=_IMAGES),
    "images_40": Shape(2, shares=_IMAGES),
    "image_chat": Shape(4),
    "agents": Shape(4),
    "viral": Shape(4),
    "mixed_fleet": Shape(4, speeds=(1.0, 1.0, 1.0, 0.5)),
    "join": Shape(4, joins=1 / 3),
    "leave": Shape(4, leaves=1 / 2),
}
assert tuple(SHAPES) == NAMES


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the grid."""

    workload: str
    cache: str
    load: float
    plan: FleetPlan

    @property
    def name(self) -> str:
        return f"{self.workload}/{self.cache}/{self.load:g}"


def configurations(
    workloads: Sequence[str] = NAMES, *, quick: bool = False, conversation: Path = CONVERSATION_TRACE
) -> Iterator[Configuration]:
    """The points of the grid, workload by workload.

    Args:
        quick: two points of each workload instead of twelve.
    """
    for name in workloads:
        workload, shape = make(name, SEED, conversation), SHAPES[name]
        for cache in QUICK_CACHES if quick else CACHES:
            plan = _plan(workload, shape, _kv_blocks(workload, shape, CACHES.index(cache)))
            rate_at = _prefill_rates(workload, plan)
            for load in QUICK_LOADS if quick else LOADS:
                yield Configuration(name, cache, load, plan.with_prefill(rate_at(load)))


def _plan(workload: Workload, shape: Shape, kv_blocks: int) -> FleetPlan:
    last = shape.replicas - 1
    return FleetPlan(
        replicas=shape.replicas,
        kv_blocks=kv_blocks,
        block_size=workload.block_size,
        prefill_tokens_per_s=1.0,  # not known yet
        decode_tokens_per_s=DECODE_TOKENS_PER_S,
        speeds=shape.speeds,
        joins=((last, shape.joins * workload.last_arrival_s),) if shape.joins else (),
        leaves=((last, shape.leaves * workload.last_arrival_s),) if shape.leaves else (),
    )


def _prefill_rates(workload: Workload, plan: FleetPlan) -> Callable[[float], float]:
    """Load level -> prefill tokens a second of one ordinary replica."""
    speed = plan.smallest_speed
    if workload.concurrency is not None:
        return lambda load: closed_prefill_tokens_per_s(workload, load, speed, DECODE_TOKENS_PER_S)
    uncached_tokens = pooled_uncached_tokens(workload, plan.kv_tokens * plan.replicas)
    return lambda load: open_prefill_tokens_per_s(workload, uncached_tokens, load, speed)


def _kv_blocks(workload: Workload, shape: Shape, size: int) -> int:
    if not shape.shares:
        return _CONVERSATION_BLOCKS[size]
    share_tokens = shape.shares[size] * working_set_tokens(workload) / shape.replicas
    return int(max(share_tokens, 2 * largest_request_tokens(workload)) // workload.block_size) + 1

"""Small workloads and fleets for tests of the benchmark."""

from __future__ import annotations

from typing import Any

from bench.routing.fleet import FleetPlan
from bench.routing.policy import Setting
from bench.routing.request import BenchRequest, Workload
from extproc.prefix import Chain
from extproc.sim import EngineStats

BLOCK = 16


def prompt(
    name: str, topic: int, blocks: int = 4, *, arrival_s: float = 0.0, output_tokens: int = 4, **more: Any
) -> BenchRequest:
    """A prompt of full blocks, and one token; those of a topic share as far as the shorter one goes."""
    hashes = tuple(topic * 1000 + block for block in range(blocks))
    return BenchRequest(
        id=name,
        arrival_s=arrival_s,
        chain=Chain(hashes, (BLOCK,) * blocks, blocks * BLOCK + 1),
        prompt_tokens=blocks * BLOCK + 1,
        output_tokens=output_tokens,
        block_hashes=hashes,
        **more,
    )


def workload(*requests: BenchRequest, concurrency: int | None = None) -> Workload:
    return Workload("test", requests, BLOCK, concurrency)


def plan(replicas: int = 2, kv_blocks: int = 64, **more: Any) -> FleetPlan:
    """Engines of 1,000 prompt tokens a second."""
    return FleetPlan(replicas, kv_blocks, BLOCK, prefill_tokens_per_s=1000.0, **more)


def setting(fleet: FleetPlan | None = None) -> Setting:
    fleet = fleet or plan()
    return Setting(fleet.build(), fleet.prefill_tokens_per_s, [fleet.speed(each) for each in range(fleet.replicas)], 1)


class Fixed:
    """A policy that sends request by request where it is told, and writes down what it hears."""

    def __init__(self, *replicas: int) -> None:
        self._replicas = list(replicas)
        self.heard: list[tuple[str, str | int, float]] = []

    def route(self, request: BenchRequest, now_s: float) -> int:
        self.heard.append(("route", request.id, now_s))
        return self._replicas.pop(0) if len(self._replicas) > 1 else self._replicas[0]

    def first_token(self, request: BenchRequest, replica: int, now_s: float) -> None:
        self.heard.append(("first", request.id, now_s))

    def finished(self, request: BenchRequest, replica: int, now_s: float, cached_tokens: int) -> None:
        self.heard.append(("finished", request.id, now_s))

    def report(self, replica: int, stats: EngineStats, now_s: float) -> None:
        self.heard.append(("report", replica, now_s))

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        self.heard.append(("up", replica, now_s))

    def down(self, replica: int, now_s: float) -> None:
        self.heard.append(("down", replica, now_s))

    def notes(self) -> dict[str, float]:
        return {}

    def times(self, what: str) -> dict[str | int, float]:
        return {who: at_s for kind, who, at_s in self.heard if kind == what}

"""One data-parallel rank of a simulated replica: an engine with a cache, a load and KV events of its own."""

from __future__ import annotations

from dataclasses import replace

from extproc.clock import Clock
from extproc.sim.engine import Engine
from extproc.sim.engine_loop import EngineLoop
from extproc.sim.kv_events import Publisher
from extproc.sim.metrics import Metrics
from extproc.sim.settings import SimSettings

_WAITING_WEIGHS = 4


class Rank:
    """Most replicas have one."""

    def __init__(self, number: int, settings: SimSettings, clock: Clock, publisher: Publisher | None) -> None:
        self.number = number
        self.publisher = publisher
        self.engine = Engine(replace(settings.engine, record_events=publisher is not None))
        self.loop = EngineLoop(self.engine, clock, publisher.publish if publisher else None)
        self.metrics = Metrics(settings.models[0], settings.engine, number, settings.data_parallel_size)

    @property
    def load(self) -> int:
        """What vLLM's front end compares to choose a rank for a request that names none."""
        stats = self.engine.stats
        return _WAITING_WEIGHS * stats.waiting + stats.running

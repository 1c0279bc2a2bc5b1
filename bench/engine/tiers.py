"""Experiment 3: does it matter where evicted KV lives?"""

from __future__ import annotations

from bench.engine.commands import Offload, Setup
from bench.engine.experiment import Experiment, Routing, Variant
from bench.engine.loads import Load
from bench.engine.options import Options

_TIERS: dict[str, Offload] = {"GPU only": "none", "CPU (LMCache L1)": "cpu", "Redis (LMCache L2)": "redis"}


def tiers(options: Options) -> Experiment:
    """As experiment 2 under its tighter cap. For Redis, LMCache's own memory is but a buffer, and never hit."""
    load = Load(options.images or 40, options.requests or 80, options.concurrency, options.image_side)
    blocks = options.sizes.offload_blocks[1]
    scenario = f"cap {blocks} blocks"
    return Experiment(
        "tiers",
        "Where offloaded KV lives",
        tuple(Variant(scenario, name, Setup(1, blocks, kind), Routing(), load) for name, kind in _TIERS.items()),
        {scenario: "The host's memory should win clearly; Redis wins by as much as a copy is quicker than computing."},
    )

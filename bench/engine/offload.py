"""Experiment 2: what is gained when KV that the engine evicts is kept in the host's memory?"""

from __future__ import annotations

from bench.engine.commands import Offload, Setup
from bench.engine.experiment import Experiment, Routing, Variant
from bench.engine.loads import Load
from bench.engine.options import Options

_OFFLOAD: dict[str, Offload] = {"engine only": "none", "+ LMCache CPU": "cpu"}


def offload(options: Options) -> Experiment:
    """One engine, 40 images, each asked about twice, 8 requests at a time, under two caps."""
    load = Load(options.images or 40, options.requests or 80, options.concurrency, options.image_side)
    wide, tight = options.sizes.offload_blocks
    scenarios = (
        (f"cap {wide} blocks", wide),
        (f"cap {tight} blocks", tight),
        ("no pressure", options.sizes.roomy_blocks),
    )
    gain = "What the first round left is evicted when the second asks for it: offloading should win."
    return Experiment(
        "offload",
        "LMCache CPU offload, on and off",
        tuple(
            Variant(scenario, name, Setup(1, blocks, kind), Routing(), load)
            for scenario, blocks in scenarios
            for name, kind in _OFFLOAD.items()
        ),
        {
            scenarios[0][0]: gain,
            scenarios[1][0]: gain,
            "no pressure": "The engine keeps everything: nothing to gain, and what LMCache costs is to be seen.",
        },
    )

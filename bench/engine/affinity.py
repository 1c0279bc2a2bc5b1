"""Experiment 1: does it matter which replica an image goes to?"""

from __future__ import annotations

from bench.engine.commands import Setup
from bench.engine.experiment import COMPARED, Experiment, Variant
from bench.engine.loads import Load
from bench.engine.options import Options


def affinity(options: Options) -> Experiment:
    """Two replicas, 12 images, 120 requests, 8 at a time; a replica's cache holds about 8 prompts."""
    images, requests = options.images or 12, options.requests or 120
    tight = Setup(options.replicas, options.sizes.affinity_blocks)
    roomy = Setup(options.replicas, options.sizes.roomy_blocks)
    few = Load(images, requests, options.concurrency, options.image_side)
    all_differ = Load(requests // 2, requests // 2, options.concurrency, options.image_side)
    everywhere = Load(images, requests, options.concurrency, options.image_side, warmed=True)
    scenarios = (
        ("pressure", tight, few),
        ("no sharing", tight, all_differ),
        ("no pressure", roomy, everywhere),
    )
    return Experiment(
        "affinity",
        "Prefix-aware routing against round robin",
        tuple(
            Variant(scenario, name, setup, routing, load)
            for scenario, setup, load in scenarios
            for name, routing in COMPARED.items()
        ),
        {
            "pressure": f"A replica cannot hold all {images} images, but can hold its half: routing should win.",
            "no sharing": "Every request has an image of its own: nothing to gain.",
            "no pressure": "Every replica has seen all images before and keeps them: nothing to gain.",
        },
    )

"""The gateway in front of the engines: a new one for every cell, that knows nothing yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.engine.experiment import Routing
from bench.engine.options import Options
from bench.engine.stage import Stage


def sections(options: Options, stage: Stage, routing: Routing, requests: Path) -> dict[str, Any]:
    """Its configuration.

    Args:
        requests: where it says of each request where it went, why, and what came of it.
    """
    precise = routing.prefix_index == "precise"
    model: dict[str, Any] = {"name": options.served, "image_tokens": options.sizes.image_tokens}
    if precise:
        model |= {"tokenizer": options.model, "engine_path": options.model}
    feeds = [
        {
            "kv_events_url": f"tcp://127.0.0.1:{replica.ports.events}",
            "replay_url": f"tcp://127.0.0.1:{replica.ports.replay}",
        }
        if precise
        else {}
        for replica in stage.replicas
    ]
    replicas = [
        {"name": replica.name, "url": replica.url, **feed} for replica, feed in zip(stage.replicas, feeds, strict=True)
    ]
    provider: dict[str, Any] = {"name": "engines", "replicas": replicas}
    return {
        "providers": [provider],
        "models": [{**model, "deployments": [{"provider": "engines"}]}],
        "telemetry": {"request_log": str(requests)},
        "routing": {"strategy": routing.strategy, **({"prefix_index": "precise"} if precise else {})},
    }

"""Workloads by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from bench.common.errors import BenchFailed
from bench.routing import traces
from bench.routing.generators.agents import agents
from bench.routing.generators.image_chat import image_chat
from bench.routing.generators.images import images
from bench.routing.generators.mix import mix
from bench.routing.generators.viral import viral
from bench.routing.request import Workload

CONVERSATION_TRACE = Path(__file__).resolve().parents[3] / "shared" / "traces" / "mooncake_conversation.jsonl"

# Engine blocks are of 64 tokens where contexts are long: hit rates differ by less than 48 tokens a request from those
# of 16-token blocks, at a quarter of the time.
_GENERATED: dict[str, Callable[[str, int], Workload]] = {
    "images_12": lambda name, seed: images(name, seed, count=12, requests=120, concurrency=8, block_size=16),
    "images_40": lambda name, seed: images(name, seed, count=40, requests=80, concurrency=8, block_size=16),
    "image_chat": lambda name, seed: image_chat(name, seed, sessions=300, block_size=64),
    "agents": lambda name, seed: agents(name, seed, sessions=100, block_size=64),
    "viral": lambda name, seed: viral(name, seed, requests=2400, block_size=64),
    "mixed_fleet": lambda name, seed: mix(name, seed, sessions=400, block_size=64),
    "join": lambda name, seed: mix(name, seed + 1, sessions=400, block_size=64),
    "leave": lambda name, seed: mix(name, seed + 2, sessions=400, block_size=64),
}

NAMES = ("conversation", *_GENERATED)


@lru_cache(maxsize=2)
def make(name: str, seed: int, conversation: Path = CONVERSATION_TRACE) -> Workload:
    """The workload of that name.

    Raises:
        BenchFailed: there is none, or its trace cannot be read.
    """
    if name == "conversation":
        return traces.load(conversation)
    if name not in _GENERATED:
        raise BenchFailed(f"no workload is called {name!r}; there are: {', '.join(NAMES)}")
    return _GENERATED[name](name, seed)

"""Drives engines on a virtual clock, and makes the prompts that tests feed them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from extproc.sim import Engine, EngineSettings, Request


def settings(**changes: Any) -> EngineSettings:
    """A small engine without step overhead, so that times are round: 1,000 tokens/s prefill, 100 tokens/s decode."""
    chosen: dict[str, Any] = {
        "block_size": 4,
        "kv_blocks": 64,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "prefill_tokens_per_s": 1000.0,
        "decode_tokens_per_s": 100.0,
        "step_overhead_s": 0.0,
        "decode_interference": 0.0,
    }
    return EngineSettings(**(chosen | changes))


def request(
    name: str, tokens: int, max_tokens: int = 1, *, topic: int = 0, arrival_s: float = 0.0, block_size: int = 4
) -> Request:
    """A prompt whose blocks are those of every other prompt of its topic, as far as it is long."""
    hashes = [topic * 1_000_000 + block for block in range(tokens // block_size)]
    return Request(name, tokens, hashes, max_tokens, arrival_s)


@dataclass
class Served:
    """What became of one request."""

    first_s: float = 0.0
    finished_s: float = 0.0
    tokens: int = 0
    cached_tokens: int = 0
    firsts: int = 0
    finishes: int = 0


@dataclass
class Run:
    """What became of all of them, and the engine they left behind."""

    engine: Engine
    served: dict[str, Served] = field(default_factory=dict)
    steps: int = 0


def run(engine: Engine, requests: Iterable[Request], *, fuse: bool = False) -> Run:
    """Serve requests to the end, each submitted at its arrival."""
    coming = sorted(requests, key=lambda request: request.arrival_s)
    result = Run(engine, {request.id: Served() for request in coming})
    now = 0.0
    while coming or engine.busy:
        if not engine.busy:
            now = max(now, coming[0].arrival_s)
        while coming and coming[0].arrival_s <= now:
            engine.submit(coming.pop(0))
        assert engine.begin_step(now, fuse=fuse) is not None
        while coming and coming[0].arrival_s < _end(engine):
            engine.submit(coming.pop(0))
        now = _end(engine)
        result.steps += 1
        for output in engine.finish_step(now):
            served = result.served[output.request_id]
            served.tokens += output.new_tokens
            served.cached_tokens = output.cached_tokens
            if output.first:
                served.firsts += 1
                served.first_s = now
            if output.finished:
                served.finishes += 1
                served.finished_s = now
    return result


def _end(engine: Engine) -> float:
    assert engine.step_ends_s is not None
    return engine.step_ends_s

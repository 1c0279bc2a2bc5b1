"""One cell: empty caches, a new gateway, requests through it, and what the engines counted meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from bench.common.gateway import Gateway, gateway
from bench.engine.chat import chat
from bench.engine.client import serve
from bench.engine.counters import FINISHED, growth
from bench.engine.experiment import Cell
from bench.engine.front import sections
from bench.engine.loads import ChatLoad, Load
from bench.engine.options import Options
from bench.engine.outcome import Outcome, of_replies
from bench.engine.stage import Stage
from bench.engine.workload import body, questions, warm_up

_EXERCISES = 4


def measure(
    cell: Cell, options: Options, stage: Stage, folder: Path, requests: Path, answered: Callable[[], None]
) -> dict[str, Any]:
    """Outcome, counters and commands of one cell, ready for JSON.

    Args:
        folder: new, for the gateway.
        requests: new, for its request log.
        answered: called after each request.

    Raises:
        BenchFailed: a request failed, or somebody else's were counted.
    """
    load, seed = cell.variant.load, options.seed + cell.repeat
    _exercise(options, stage, seed)
    stage.clear()
    if isinstance(load, Load) and load.warmed:
        _warm(options, stage, load, seed)
    with gateway(sections(options, stage, cell.variant.routing, requests), folder) as front:
        _knock(options, front)
        before, redis_before = stage.counters(), stage.redis_counters()
        if isinstance(load, ChatLoad):
            outcome, command = chat(options, load, front.url, seed, folder, _grown(stage, before))
            commands = (*stage.commands, command)
        else:
            outcome, commands = _ask(options, stage, load, seed, front, before, answered), stage.commands
        after, redis_after = stage.counters(), stage.redis_counters()
    if outcome.failures:
        raise BenchFailed(f"{cell.name()}: {outcome.failures} requests failed")
    return {
        "seed": seed,
        "commands": list(commands),
        "outcome": outcome.as_json(),
        "counters": {"before": before, "after": after},
        "redis": growth(redis_before, redis_after),
    }


def _knock(options: Options, front: Gateway) -> None:
    """Opens the gateway's connections."""
    asked = {"model": options.served, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    each = [{**asked, "seed": number} for number in range(2 * options.concurrency)]
    serve(front.url, each, options.concurrency, lambda: None)


def _exercise(options: Options, stage: Stage, seed: int) -> None:
    """Computes and restores a few prompts of no consequence: what is slow the first time is not slow in the cell."""
    load = Load(_EXERCISES, _EXERCISES, _EXERCISES, options.image_side)
    for _ in range(2):
        _warm(options, stage, load, -seed)
        stage.forget_prefixes()


def _warm(options: Options, stage: Stage, load: Load, seed: int) -> None:
    bodies = [body(each, options.served, load, options.sizes, seed) for each in warm_up(load, options.sizes, seed)]
    for replica in stage.replicas:
        serve(replica.url, bodies, load.concurrency, lambda: None)


def _ask(
    options: Options,
    stage: Stage,
    load: Load,
    seed: int,
    front: Gateway,
    before: dict[str, dict[str, float]],
    answered: Callable[[], None],
) -> Outcome:
    asked = questions(load, options.sizes, seed)
    bodies = [body(question, options.served, load, options.sizes, seed) for question in asked]
    served = serve(front.url, bodies, load.concurrency, answered)
    failures = sorted({reply.failure for reply in served.replies if reply.failure})
    if failures:
        raise BenchFailed("a request failed: " + "; ".join(failures[:3]))
    outcome = of_replies(served.replies, [each.visit for each in asked], served.wall_s, _grown(stage, before)())
    finished = sum(outcome.requests.values())
    counted = sum(grown.get(FINISHED, 0.0) for grown in _grown(stage, before)().values())
    if counted != finished:
        raise BenchFailed(f"the engines counted {counted:.0f} requests of {finished}: somebody else uses them")
    return outcome


def _grown(stage: Stage, before: dict[str, dict[str, float]]) -> Callable[[], dict[str, dict[str, float]]]:
    return lambda: {name: growth(before[name], after) for name, after in stage.counters().items()}

"""Agents: a long system prompt with tools, then 20 to 40 calls whose context only grows.

Calls come in bursts, tool results following within a second or so; between bursts the agent waits for a person or a
slow tool.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.routing.generators.talk import Turn, in_order, skewed, starts, talk, zipf
from bench.routing.request import Workload
from bench.routing.segments import Segment

_KINDS = 6


def agents(name: str, seed: int, *, sessions: int, block_size: int) -> Workload:
    dice = random.Random(seed)
    kinds = [Segment("text", f"tools {kind}", dice.randint(3000, 8000)) for kind in range(_KINDS)]
    requests = []
    for number, start_s in enumerate(starts(dice, sessions, 1.2 * sessions)):
        session = f"agent {number}"
        opening = [kinds[zipf(dice, _KINDS)], Segment("text", f"{session}/task", skewed(dice, 100, 3000))]
        requests += talk(session, start_s, opening, _turns(dice, session), block_size=block_size)
    return in_order(name, requests, block_size)


def _turns(dice: random.Random, session: str) -> Iterator[Turn]:
    left_in_burst = 0
    for number in range(dice.randint(20, 40)):
        if left_in_burst:
            left_in_burst -= 1
            think_s, tokens = dice.uniform(0.2, 1.5), skewed(dice, 100, 2500)
        else:
            left_in_burst = dice.randint(3, 8)
            think_s, tokens = dice.uniform(5.0, 20.0), skewed(dice, 50, 400)
        asks = (Segment("text", f"{session}/result {number}", tokens),)
        yield Turn(asks, skewed(dice, 40, 400), think_s=think_s)

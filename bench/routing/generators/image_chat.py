"""Conversations about images: each begins with one, more follow, and the history grows.

A third of the images come from a pool that everybody sees (a product's picture, a viral photo), the others are new.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.routing.generators.images import IMAGE_TOKENS
from bench.routing.generators.talk import Turn, in_order, skewed, starts, talk, zipf
from bench.routing.request import Workload
from bench.routing.segments import Segment

_POOL = 50
_FROM_POOL = 1 / 3
_ANOTHER_IMAGE = 0.25  # chance that a later turn brings one
_SYSTEM = Segment("text", "system", 200)


def image_chat(name: str, seed: int, *, sessions: int, block_size: int) -> Workload:
    dice = random.Random(seed)
    pool = [Segment("image", f"popular {number}", dice.randint(*IMAGE_TOKENS)) for number in range(_POOL)]
    requests = []
    for number, start_s in enumerate(starts(dice, sessions, 0.8 * sessions)):
        session = f"chat {number}"
        requests += talk(session, start_s, [_SYSTEM], _turns(dice, session, pool), block_size=block_size)
    return in_order(name, requests, block_size)


def _turns(dice: random.Random, session: str, pool: list[Segment]) -> Iterator[Turn]:
    for number in range(dice.randint(4, 12)):
        asks = []
        if number == 0 or dice.random() < _ANOTHER_IMAGE:
            if dice.random() < _FROM_POOL:
                asks.append(pool[zipf(dice, _POOL)])
            else:
                asks.append(Segment("image", f"{session}/image {number}", dice.randint(*IMAGE_TOKENS)))
        asks.append(Segment("text", f"{session}/question {number}", skewed(dice, 20, 200)))
        yield Turn(tuple(asks), skewed(dice, 50, 300), think_s=dice.uniform(3.0, 20.0))

"""A day's mix: chats under a dozen system prompts, many about a document, some about an image."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.routing.generators.images import IMAGE_TOKENS
from bench.routing.generators.talk import Turn, in_order, skewed, starts, talk, zipf
from bench.routing.request import Workload
from bench.routing.segments import Segment

_SYSTEMS = 12
_ABOUT_DOCUMENT = 0.4
_ABOUT_IMAGE = 0.15


def mix(name: str, seed: int, *, sessions: int, block_size: int) -> Workload:
    dice = random.Random(seed)
    systems = [Segment("text", f"system {number}", skewed(dice, 300, 2500)) for number in range(_SYSTEMS)]
    requests = []
    for number, start_s in enumerate(starts(dice, sessions, 0.6 * sessions)):
        session = f"chat {number}"
        opening = [systems[zipf(dice, _SYSTEMS)], *_subject(dice, session)]
        requests += talk(session, start_s, opening, _turns(dice, session), block_size=block_size)
    return in_order(name, requests, block_size)


def _subject(dice: random.Random, session: str) -> list[Segment]:
    what = dice.random()
    if what < _ABOUT_DOCUMENT:
        return [Segment("text", f"{session}/document", skewed(dice, 1000, 12_000))]
    if what < _ABOUT_DOCUMENT + _ABOUT_IMAGE:
        return [Segment("image", f"{session}/image", dice.randint(*IMAGE_TOKENS))]
    return []


def _turns(dice: random.Random, session: str) -> Iterator[Turn]:
    for number in range(dice.randint(2, 10)):
        asks = (Segment("text", f"{session}/question {number}", skewed(dice, 30, 600)),)
        yield Turn(asks, skewed(dice, 50, 400), think_s=dice.uniform(2.0, 15.0))

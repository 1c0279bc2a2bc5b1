"""One prefix that nearly everybody sends (80 % of requests), and documents that some come back to."""

from __future__ import annotations

import random

from bench.routing.generators.talk import in_order, skewed, starts, zipf
from bench.routing.request import Workload
from bench.routing.segments import Segment, request

_SHARE = 0.8
_VIRAL = Segment("text", "viral prefix", 8_000)
_DOCUMENTS = 60
_REQUESTS_PER_S = 12.0


def viral(name: str, seed: int, *, requests: int, block_size: int) -> Workload:
    dice = random.Random(seed)
    documents = [Segment("text", f"document {number}", skewed(dice, 1000, 8000)) for number in range(_DOCUMENTS)]
    made = []
    for number, at_s in enumerate(starts(dice, requests, requests / _REQUESTS_PER_S)):
        head = _VIRAL if dice.random() < _SHARE else documents[zipf(dice, _DOCUMENTS)]
        tail = Segment("text", f"tail {number}", skewed(dice, 200, 2000))
        answer = Segment("text", f"answer {number}", skewed(dice, 50, 300))
        made.append(request(f"{number}", at_s, [head, tail], answer, block_size=block_size))
    return in_order(name, made, block_size)

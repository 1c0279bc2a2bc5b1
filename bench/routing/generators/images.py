"""Questions about a few images, each asked about again and again: the two experiments of the first generation.

One question a request, a fixed number of requests under way at a time. A 1024x1024 image weighs from 1,369 to some
6,500 tokens, by model family; every image here has a weight of its own in that range.
"""

from __future__ import annotations

import random

from bench.routing.request import Workload
from bench.routing.segments import Segment, request

IMAGE_TOKENS = (1369, 6500)
_SYSTEM = Segment("text", "system", 32)
_ANSWER_TOKENS = 128


def images(name: str, seed: int, *, count: int, requests: int, concurrency: int, block_size: int) -> Workload:
    """`requests` questions over `count` images, each image equally often, in a random order."""
    dice = random.Random(seed)
    pictures = [Segment("image", f"image {number}", dice.randint(*IMAGE_TOKENS)) for number in range(count)]
    order = [pictures[number % count] for number in range(requests)]
    dice.shuffle(order)
    made = []
    for number, picture in enumerate(order):
        question = Segment("text", f"question {number}", dice.randint(20, 60))
        answer = Segment("text", f"answer {number}", _ANSWER_TOKENS)
        made.append(request(f"{number}", 0.0, [_SYSTEM, picture, question], answer, block_size=block_size))
    return Workload(name, tuple(made), block_size, concurrency)

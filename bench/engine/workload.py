"""Requests about images: which, in which order, saying what; the same for every variant of a repeat."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.common.images import photo_url
from bench.common.texts import sentence
from bench.engine.loads import Load
from bench.engine.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Args:
        image: which.
        visit: how many times it was asked about before.
        text: that no other request has.
    """

    image: int
    visit: int
    text: str


def questions(load: Load, sizes: Sizes, seed: int) -> list[Question]:
    """Rounds over all images, each round in an order of its own, until there are enough requests."""
    generator = random.Random(f"{seed}/order")
    asked: list[Question] = []
    visit = 0
    while len(asked) < load.requests:
        order = generator.sample(range(load.images), load.images)[: load.requests - len(asked)]
        asked += [Question(image, visit, sentence(f"{seed}/{image}/{visit}", sizes.question_words)) for image in order]
        visit += 1
    return asked


def warm_up(load: Load, sizes: Sizes, seed: int) -> list[Question]:
    """A question about every image that is not among the measured ones."""
    return [Question(image, -1, sentence(f"{seed}/{image}/w", sizes.question_words)) for image in range(load.images)]


def body(question: Question, model: str, load: Load, sizes: Sizes, seed: int) -> dict[str, Any]:
    """As a chat completion: image, its passage, the question. All answers are equally long."""
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": photo_url(load.image_side, seed, question.image)}}
    ]
    if sizes.passage_words:
        parts.append({"type": "text", "text": sentence(f"{seed}/{question.image}", sizes.passage_words, ".")})
    parts.append({"type": "text", "text": question.text})
    length = {"max_tokens": sizes.output_tokens, "min_tokens": sizes.output_tokens, "ignore_eos": True}
    return {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, **length}


def distinct(asked: Sequence[Question]) -> int:
    """Images among the questions."""
    return len({question.image for question in asked})

"""Conversations about images: what is asked, in which order of parts, the same for every run of a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.common.images import data_url, noise_png

MODEL = "bench-vl"
_SIDE = 1024
_DISTINCT_BYTES_PER_ROW = 96  # rows repeat: a file of about 100 kB instead of 3 MB, as a photo's JPEG would have
_SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sha", "to", "ve", "bri", "cor", "den", "fal")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to ask.

    Args:
        image_first: the first user message is image, text; else text, image.
        shared_texts: every conversation asks the same questions.
    """

    name: str
    image_first: bool
    shared_texts: bool
    strategy: str


def variants(strategies: list[str] | None) -> list[Variant]:
    """The three shapes under each strategy; by default the gateway's own, and round robin as the baseline of (b)."""
    chosen = [
        variant
        for strategy in strategies or ["prefix_kv_aware"]
        for variant in (
            Variant("a: image first, texts differ", True, False, strategy),
            Variant("b: image first, texts shared", True, True, strategy),
            Variant("c: text first, texts shared", False, True, strategy),
        )
    ]
    return chosen if strategies else [*chosen, Variant("d: as b, baseline", True, True, "round_robin")]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One image and the questions about it."""

    number: int
    image_url: str
    questions: tuple[str, ...]
    image_first: bool

    def opening(self) -> dict[str, Any]:
        """The first message."""
        image = {"type": "image_url", "image_url": {"url": self.image_url}}
        text = {"type": "text", "text": self.questions[0]}
        return {"role": "user", "content": [image, text] if self.image_first else [text, image]}

    def question(self, turn: int) -> dict[str, Any]:
        """The message of a later turn."""
        return {"role": "user", "content": self.questions[turn]}


def conversations(variant: Variant, *, images: int, turns: int, words: int, seed: int) -> list[Conversation]:
    """One for each image.

    Args:
        words: of a question.
        seed: of images and texts; conversations of all variants show the same images.
    """
    return [
        Conversation(
            number=number,
            image_url=_image(seed, number),
            questions=tuple(
                _question(f"{seed}/{0 if variant.shared_texts else number}/{t}", words) for t in range(turns)
            ),
            image_first=variant.image_first,
        )
        for number in range(images)
    ]


@cache
def _image(seed: int, number: int) -> str:
    return data_url(noise_png(_SIDE, _SIDE, seed * 10_007 + number, distinct_bytes_per_row=_DISTINCT_BYTES_PER_ROW))


def _question(seed: str, words: int) -> str:
    generator = random.Random(seed)
    spoken = ("".join(generator.choices(_SYLLABLES, k=generator.randint(1, 3))) for _ in range(words))
    return " ".join(spoken).capitalize() + "?"

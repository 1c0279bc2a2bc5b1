"""Conversations about images: what is asked, in which order of parts, the same for every run of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.common.images import photo_url
from bench.common.texts import sentence

MODEL = "bench-vl"
_SIDE = 1024


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
            image_url=photo_url(_SIDE, seed, number),
            questions=tuple(
                sentence(f"{seed}/{0 if variant.shared_texts else number}/{t}", words) for t in range(turns)
            ),
            image_first=variant.image_first,
        )
        for number in range(images)
    ]

"""A mixed workload: conversations that grow turn by turn, of texts, images of several sizes, and several tenants."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.engine.varied_requests import picture, words

SIZES = ((300, 300), (64, 48), (500, 120), (333, 777))
_FORMATS = (("PNG", "RGB"), ("JPEG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"))


@dataclass
class Conversation:
    """One client's, with all that was said so far.

    Args:
        salt: of its tenant; empty without one.
        images: how many of its turns bring an image.
        most_words: of a turn.
    """

    seed: int
    salt: str = ""
    images: int = 0
    most_words: int = 220
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        # Some share their beginning, as agents of one kind do.
        told = random.Random(self.seed % 3)
        self.messages.append({"role": "system", "content": words(told, 150)})

    def ask(self, model: str) -> dict[str, Any]:
        """The body of the next request; `heard` must follow it."""
        text = {"type": "text", "text": words(self._chance, self._chance.randrange(5, self.most_words))}
        parts = [text]
        if self.images > 0:
            self.images -= 1
            parts.insert(0, picture(self._chance, self._chance.choice(SIZES), self._chance.choice(_FORMATS)))
        self.messages.append({"role": "user", "content": parts})
        body = {"model": model, "messages": self.messages, "max_tokens": self._chance.randrange(1, 24)}
        return {**body, "cache_salt": self.salt} if self.salt else body

    def heard(self, answer: str) -> None:
        """The assistant said this."""
        self.messages.append({"role": "assistant", "content": answer})


def conversations(seed: int, count: int, most_words: int = 220) -> Iterator[Conversation]:
    """Of every three, one is of text alone; of every four, one is a tenant's."""
    for number in range(count):
        salt = f"tenant {number % 2}" if number % 4 == 3 else ""
        yield Conversation(seed + number, salt, images=number % 3, most_words=most_words)

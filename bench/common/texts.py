"""Words that mean nothing, the same for the same seed."""

from __future__ import annotations

import random

_SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sha", "to", "ve", "bri", "cor", "den", "fal")


def sentence(seed: str, words: int, end: str = "?") -> str:
    """So many words of one to three syllables."""
    generator = random.Random(seed)
    spoken = ("".join(generator.choices(_SYLLABLES, k=generator.randint(1, 3))) for _ in range(words))
    return " ".join(spoken).capitalize() + end

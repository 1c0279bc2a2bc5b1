"""Texts -> vectors whose cosine tells how much they are alike."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Embedder(Protocol):
    """A source of vectors.

    Args:
        name: of the embedder and its model; vectors of different names are never compared.
        dims: length of a vector; 0 until the first one came.
        knows_synonyms: whether a high similarity says anything of words that are spelled differently.
    """

    @property
    def name(self) -> str: ...

    @property
    def dims(self) -> int: ...

    @property
    def knows_synonyms(self) -> bool: ...

    async def embed(self, text: str) -> Vector | None:
        """A vector of length 1; None when there is none to be had now. Never raises."""
        ...

    async def close(self) -> None: ...


def normalised(values: object) -> Vector | None:
    """A vector of length 1; None for what is no vector, or has no direction."""
    try:
        vector = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    if vector.ndim != 1 or not vector.size:
        return None
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if np.isfinite(length) and length > 0 else None

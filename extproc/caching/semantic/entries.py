"""What is kept of an answered question, and what the cache asks of a place where such entries are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .bound import Observation
from .embedders import Vector


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry is looked for.

    Args:
        scope: only entries of the same 32 bytes are ever compared.
        holder: whose entries are forgotten together.
    """

    scope: bytes
    holder: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An answered question.

    Args:
        key: 32 bytes over the canonical form of the question.
        question: its words as the client wrote them, for the guards.
        vector: of the canonical form; None if none was to be had: then only the same question finds it. None as well in
            what a store found whose vectors stay where they are.
        observations: what was learned of it, oldest first.
    """

    key: bytes
    question: str = field(repr=False)
    vector: Vector | None
    observations: tuple[Observation, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Near:
    """An entry and the cosine between its question and the one asked."""

    entry: Entry
    similarity: float


class Entries(Protocol):
    """Entries by place. No method raises; a store that is down finds nothing."""

    async def answer(self, place: Place, key: bytes) -> bytes | None:
        """The packed answer of an entry."""
        ...

    async def nearest(self, place: Place, vector: Vector, count: int) -> Sequence[Near]:
        """The entries of a place most alike, the most similar first."""
        ...

    async def put(self, place: Place, entry: Entry, answer: bytes, ttl_s: float) -> None:
        """Stores an entry. One that is there already keeps its observations."""
        ...

    async def observe(self, place: Place, key: bytes, seen: Observation) -> None:
        """Adds to what was learned of an entry."""
        ...

    async def flush(self, holder: str | None) -> None:
        """Forgets the entries of a holder, or all.

        Raises:
            StoreDown: they could not be forgotten.
        """
        ...

"""The semantic cache, as the request path sees it: the answer to the same question in other words, or a note to store.

    match await cache.look_up(request, tenant):
        case Found(answer, similarity): ...      # reply
        case Asked() as asked: ...               # go upstream; with the answer: await cache.store(asked, answer)
        case None: ...                           # nothing here to compare

An answer is given in two cases. The guards find that both questions are one in other words: then at once. Or they find
nothing against it, the vectors are close, and what was learned of the entry bounds the share of wrong answers. All else
goes upstream, and where there was a close entry, its answer is compared with the new one, from which the entry learns.
Faults of embedder and store cost hits, never a request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3

from extproc.api.requests import InferenceRequest
from extproc.caching.answer import Answer, NotAnAnswer, pack, unpack

from .answers import LONGEST_COMPARED, agree, words_of
from .bound import Bound, Observation
from .canonical import Canonical, canonical
from .embedders import Embedder, Vector
from .entries import Entries, Entry, Near, Place
from .guards import Likeness, Verdict, compare
from .scope import Question, question_of


@dataclass(frozen=True, slots=True)
class SemanticSettings:
    """When an answer is given.

    Args:
        threshold: cosine below which nothing is given or learned.
        replaced_threshold: the same where one word stands for another.
        max_error_rate: of the answers that experience allows, the share that may be wrong.
        neighbours: how many of the closest entries the guards look at.
        longest_text: characters of a question; longer ones are left alone.
    """

    threshold: float = 0.95
    replaced_threshold: float = 0.97
    max_error_rate: float = 0.01
    ttl_s: float = 3600.0
    neighbours: int = 8
    longest_text: int = 8000


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to give.

    Args:
        similarity: cosine of the two questions; 1 if they are one in other words.
    """

    answer: Answer
    similarity: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that goes upstream, to be stored with its answer.

    Args:
        rival: the entry whose answer was not trusted yet, to be compared with the new one.
    """

    question: Question
    form: Canonical
    place: Place
    vector: Vector | None = None
    rival: Near | None = None


@dataclass(slots=True)
class SemanticStats:
    """Since the start.

    Args:
        same: hits because the question was the same in other words.
        learned: hits that experience allowed.
        explored: questions that went upstream though an entry was close.
        agreed: of those, the ones whose answer was the same.
        refused: close entries that a guard turned away, by what differed.
    """

    same: int = 0
    learned: int = 0
    explored: int = 0
    agreed: int = 0
    misses: int = 0
    stored: int = 0
    without_vector: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class SemanticCache:
    """Questions that mean the same get one answer.

    Args:
        rng: seeded by whoever wants decisions to repeat.
        wall: Unix time in seconds, for the age of answers.
    """

    def __init__(
        self,
        embedder: Embedder,
        entries: Entries,
        settings: SemanticSettings | None = None,
        *,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._embedder = embedder
        self._entries = entries
        self._settings = settings or SemanticSettings()
        self._bound = Bound(self._settings.max_error_rate, rng or random.Random())
        self._wall = wall
        self.stats = SemanticStats()

    async def look_up(
        self, request: InferenceRequest, holder: str, *, use: bool = True, max_age_s: float | None = None
    ) -> Found | Asked | None:
        """What to do with a request; None if there is no question in words, or too long a one.

        Args:
            holder: the tenant, or the scope that it shares answers with.
            use: whether a stored answer may be given.
            max_age_s: how old a given answer may be.
        """
        question = question_of(request, holder)
        if question is None or len(question.text) > self._settings.longest_text:
            return None
        form = canonical(question.text)
        # Vectors of two models say nothing of each other.
        scope = blake3(question.scope + self._embedder.name.encode()).digest()
        asked = Asked(question, form, Place(scope, holder))
        if not use:
            return asked
        packed = await self._entries.answer(asked.place, _key(form))
        found = self._found(packed, 1.0, max_age_s)
        if found:
            self.stats.same += 1
            return found
        return await self._look_near(asked, max_age_s)

    async def store(self, asked: Asked, answer: Answer) -> None:
        """Keeps the answer to a question that went upstream, and learns from it. Answers with tool calls are left."""
        if words_of(answer) is None:
            return
        await self.learn(asked, answer)
        vector = asked.vector
        if vector is None and asked.form.readable:
            vector = await self._embedder.embed(asked.form.text)
        entry = Entry(_key(asked.form), asked.question.text, vector)
        await self._entries.put(asked.place, entry, pack(answer), self._settings.ttl_s)
        self.stats.stored += 1

    async def learn(self, asked: Asked, answer: Answer) -> None:
        """Compares an answer with that of the entry which was close to the question."""
        words = words_of(answer)
        if asked.rival is not None and words is not None:
            await self._learn(asked.place, asked.rival, words)

    async def flush(self, holder: str | None = None) -> None:
        """Forgets the answers of a holder, or all.

        Raises:
            StoreDown: they could not be forgotten.
        """
        await self._entries.flush(holder)

    async def _look_near(self, asked: Asked, max_age_s: float | None) -> Found | Asked:
        if not asked.form.readable:
            self.stats.misses += 1
            return asked
        vector = await self._embedder.embed(asked.form.text)
        if vector is None:
            self.stats.without_vector += 1
            return asked
        near = await self._nearest_alike(asked, vector)
        if near is None:
            self.stats.misses += 1
            return Asked(asked.question, asked.form, asked.place, vector)
        if self._bound.allows(near.entry.observations, near.similarity):
            packed = await self._entries.answer(asked.place, near.entry.key)
            found = self._found(packed, near.similarity, max_age_s)
            if found:
                self.stats.learned += 1
                return found
        self.stats.explored += 1
        return Asked(asked.question, asked.form, asked.place, vector, near)

    async def _nearest_alike(self, asked: Asked, vector: Vector) -> Near | None:
        """The closest entry that the guards have nothing against."""
        for near in await self._entries.nearest(asked.place, vector, self._settings.neighbours):
            if near.similarity < self._settings.threshold:
                break
            verdict = compare(asked.form, canonical(near.entry.question))
            if verdict.likeness is not Likeness.DIFFERENT and self._is_close(near, verdict):
                return near
            because = verdict.because or "the same"
            self.stats.refused[because] = self.stats.refused.get(because, 0) + 1
        return None

    def _is_close(self, near: Near, verdict: Verdict) -> bool:
        if not verdict.replaced:
            return True
        return self._embedder.knows_synonyms and near.similarity >= self._settings.replaced_threshold

    async def _learn(self, place: Place, rival: Near, words: str) -> None:
        packed = await self._entries.answer(place, rival.entry.key)
        found = self._found(packed, rival.similarity, None)
        other = words_of(found.answer) if found else None
        if other is None:
            return
        same = agree(words, other, None) or agree(words, other, await self._similarity(words, other))
        self.stats.agreed += same
        await self._entries.observe(place, rival.entry.key, Observation(rival.similarity, same))

    async def _similarity(self, one: str, other: str) -> float | None:
        if max(len(one), len(other)) > LONGEST_COMPARED:
            return None
        first, second = await self._embedder.embed(one), await self._embedder.embed(other)
        if first is None or second is None or len(first) != len(second):
            return None
        return float(np.dot(first, second))

    def _found(self, packed: bytes | None, similarity: float, max_age_s: float | None) -> Found | None:
        if packed is None:
            return None
        try:
            answer = unpack(packed)
        except NotAnAnswer:
            return None
        age_s = max(0.0, self._wall() - answer.created_s)
        return None if max_age_s is not None and age_s > max_age_s else Found(answer, min(1.0, similarity), age_s)


def _key(form: Canonical) -> bytes:
    return blake3(form.identity.encode("utf-8", "surrogatepass")).digest()

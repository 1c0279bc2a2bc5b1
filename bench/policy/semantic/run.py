"""What the semantic cache makes of pairs."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extproc.api.requests import Endpoint
from extproc.caching.answer import Answer
from extproc.caching.semantic import Asked, Embedder, Found, MemoryEntries, SemanticCache, SemanticSettings
from extproc.caching.semantic.answers import words_of
from extproc.clock import ManualClock

from .generate import chat
from .pairs import Body, Pair, understood


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a second request got the first one's answer, of how many."""

    pairs: int
    hits: int

    @property
    def rate(self) -> float:
        return self.hits / self.pairs if self.pairs else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one pair: hit in either direction."""

    pair: Pair
    hit: bool


def answer_of(text: str) -> Answer:
    """A complete chat reply."""
    message = {"role": "assistant", "content": text}
    reply = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return Answer(Endpoint.CHAT_COMPLETIONS, json.dumps(reply).encode(), 0.0)


async def asked_once(embedder: Embedder, settings: SemanticSettings, pairs: Sequence[Pair]) -> list[Outcome]:
    """Each pair in a cache of its own, in both directions: one side is stored, the other looked up."""
    outcomes = []
    for pair in pairs:
        there = await _hits(embedder, settings, pair.first, pair.second)
        back = await _hits(embedder, settings, pair.second, pair.first)
        # A false hit is one in any direction, a true one has to be one in both.
        outcomes.append(Outcome(pair, there and back if pair.same_answer else there or back))
    return outcomes


async def asked_together(embedder: Embedder, settings: SemanticSettings, pairs: Sequence[Pair]) -> int:
    """All first sides in one cache: how many second sides of near misses then get any answer but their own."""
    cache = _cache(embedder, settings, len(pairs) + 1)
    misses = [pair for pair in pairs if not pair.same_answer]
    for pair in misses:
        await _store(cache, pair.first, _text(pair.first))
    wrong = 0
    for pair in misses:
        found = await cache.look_up(understood(pair.second), "tenant")
        wrong += isinstance(found, Found) and words_of(found.answer) != _text(pair.second)
    return wrong


async def asked_often(
    embedder: Embedder, settings: SemanticSettings, pairs: Sequence[Pair], rounds: int
) -> tuple[Tally, Tally]:
    """Families of pairs with one first side; the others are asked in turn and only learned from.

    Returns: true paraphrases in the last fifth of the rounds; near misses in all rounds.
    """
    right, wrong = [0, 0], [0, 0]
    families: dict[str, list[Pair]] = {}
    for pair in pairs:
        families.setdefault(json.dumps(pair.first, sort_keys=True), []).append(pair)
    rng = random.Random(7)
    for family in families.values():
        if not any(pair.same_answer for pair in family):
            continue
        cache = _cache(embedder, settings, 10)
        await _store(cache, family[0].first, "the answer")
        for turn in range(rounds):
            for pair in rng.sample(family, len(family)):
                found = await cache.look_up(understood(pair.second), "tenant")
                tally = right if pair.same_answer else wrong
                if turn >= rounds * 4 // 5 or not pair.same_answer:
                    tally[0] += 1
                    tally[1] += isinstance(found, Found)
                if isinstance(found, Asked):
                    await cache.learn(found, answer_of("the answer" if pair.same_answer else "another"))
    return Tally(*right), Tally(*wrong)


async def look_up_us(embedder: Embedder, entries: int, calls: int) -> list[float]:
    """Microseconds of look-ups that hit nothing, in one place of so many entries."""
    cache = _cache(embedder, SemanticSettings(), entries)
    words = np.random.default_rng(1)
    for number in range(entries):
        await _store(cache, chat(sentence(words, number)), "answer")
    requests = [understood(chat(sentence(words, entries + number))) for number in range(calls)]
    times = []
    for request in requests:
        begun = time.perf_counter()
        await cache.look_up(request, "tenant")
        times.append(1e6 * (time.perf_counter() - begun))
        await asyncio.sleep(0)
    return times


def sentence(words: np.random.Generator, number: int) -> str:
    """A question that has no paraphrase among the others."""
    made = ["".join(chr(97 + letter) for letter in words.integers(0, 26, 6)) for _ in range(4)]
    return f"How does the {made[0]} {made[1]} work in a {made[2]} of {made[3]} {number}?"


async def _hits(embedder: Embedder, settings: SemanticSettings, first: Body, second: Body) -> bool:
    cache = _cache(embedder, settings, 10)
    await _store(cache, first, "the answer")
    return isinstance(await cache.look_up(understood(second), "tenant"), Found)


async def _store(cache: SemanticCache, request: Body, answer: str) -> None:
    asked = await cache.look_up(understood(request), "tenant", use=False)
    if isinstance(asked, Asked):
        await cache.store(asked, answer_of(answer))


def _text(request: Body) -> str:
    return json.dumps(request, sort_keys=True)


def _cache(embedder: Embedder, settings: SemanticSettings, entries: int) -> SemanticCache:
    return SemanticCache(embedder, MemoryEntries(ManualClock(), max_entries=entries), settings, rng=random.Random(1))

"""The built-in pairs: near misses by rule, and paraphrases written by hand around a few subjects."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from .pairs import Body, Pair
from .texts import MISSES, PARAPHRASES, PAYLOADS

_MODEL = "model"
_QUESTIONS = (
    "What is the capital of France?",
    "How do I sort a list in Python?",
    "Explain how a heat pump works.",
    "Write a short poem about the sea.",
    "Is it safe to drink tap water here?",
)


def generated() -> list[Pair]:
    """All of them: the same each time."""
    return [*_numbers(), *_swaps(), *_words(), *_payloads(), *_around(), *_paraphrases()]


def chat(text: str, *, system: str | None = None, image: bytes | None = None, **fields: Any) -> Body:
    """A chat request with one user turn."""
    content: str | list[Body] = text
    if image is not None:
        url = "data:image/png;base64," + base64.b64encode(image).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    messages: list[Body] = [{"role": "system", "content": system}] if system else []
    return {"model": _MODEL, "messages": [*messages, {"role": "user", "content": content}], "temperature": 0, **fields}


def _miss(category: str, first: str, second: str) -> Pair:
    return Pair(category, chat(first), chat(second), False)


def _numbers() -> Iterator[Pair]:
    numbers = (("10", "100"), ("7", "8"), ("1.5", "15"), ("1,000", "10,000"), ("two", "six"), ("3", "-3"))
    sentences = (
        "What is {} percent of 250?",
        "Convert {} km to miles.",
        "How much is {} plus 4?",
        "Summarize the news of the last {} days.",
        "Suggest {} names for a cat.",
        "Can I take {} mg of ibuprofen a day?",
    )
    for sentence in sentences:
        for one, other in numbers:
            yield _miss("number", sentence.format(one), sentence.format(other))


def _swaps() -> Iterator[Pair]:
    sentences = (
        ("direction", "How do I travel from {} to {}?", ("Rome", "Paris", "Oslo")),
        ("direction", "Convert 20 {} to {}.", ("dollars", "euros", "yen")),
        ("order", "Is {} larger than {}?", ("Spain", "Germany", "Peru")),
        ("order", "Did {} attack {} first?", ("Athens", "Sparta", "Thebes")),
        ("order", "How do I call {} from {}?", ("Rust", "Python", "C")),
        ("order", "If {} is taller than {}, who is shorter?", ("Anna", "Ben", "Carl")),
    )
    for category, sentence, things in sentences:
        for one, other in permutations(things, 2):
            yield _miss(category, sentence.format(one, other), sentence.format(other, one))


def _words() -> Iterator[Pair]:
    for category, pairs in MISSES.items():
        for first, second in pairs:
            yield _miss(category, first, second)


def _payloads() -> Iterator[Pair]:
    for first, second in zip(PAYLOADS, [*PAYLOADS[1:], PAYLOADS[0]], strict=True):
        for frame in ('Translate "{}" to German.', "Translate: {}", "Summarize this:\n\n{}", "Translate to French {}"):
            yield _miss("payload", frame.format(first), frame.format(second))


def _around() -> Iterator[Pair]:
    """The same question in another setting."""
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    for question in _QUESTIONS:
        plain = chat(question)
        turn = {"role": "user", "content": question}
        for category, first, second in (
            ("image", chat(question, image=b"a cat"), chat(question, image=b"a dog")),
            ("image", plain, chat(question, image=b"a cat")),
            ("system", chat(question, system="Be brief."), chat(question, system="Be thorough.")),
            ("system", plain, chat(question, system="Answer as a pirate.")),
            ("tools", plain, chat(question, tools=[tool])),
            ("parameters", plain, chat(question, temperature=1)),
            ("parameters", plain, chat(question, max_tokens=5)),
            ("parameters", plain, chat(question, response_format={"type": "json_object"})),
            ("model", plain, {**plain, "model": "other"}),
            (
                "history",
                {**plain, "messages": [{"role": "user", "content": "Hi"}, turn]},
                {**plain, "messages": [{"role": "user", "content": "Bye"}, turn]},
            ),
        ):
            yield Pair(category, first, second, False)


def _paraphrases() -> Iterator[Pair]:
    for category, families in PARAPHRASES.items():
        for first, *others in families:
            for other in others:
                yield Pair(category, chat(first), chat(other), True)

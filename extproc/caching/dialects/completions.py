"""/v1/completions: replies, and the chunks of which one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .choices import ChoicesFold, check_choices, take_rest, unfold_choices
from .reply import Json, expect, grow, pieces

_OBJECT = "text_completion"


class Completions:
    def fold(self) -> ChoicesFold:
        return ChoicesFold(_OBJECT, _take)

    def check(self, reply: Json, choices: int) -> None:
        for choice in check_choices(reply, choices):
            expect(type(choice.get("text")) is str, "a choice has no text")

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        return unfold_choices(reply, _OBJECT, include_usage, about, _parts)


def _take(held: Json, choice: Json) -> None:
    grow(held, "text", choice.get("text") or "")
    take_rest(held, choice, "text")


def _parts(choice: Json) -> Iterator[Json]:
    text, logprobs = choice["text"], choice.get("logprobs")
    shared = {"index": choice["index"], **({"logprobs": None} if "logprobs" in choice else {}), "finish_reason": None}
    whole = bool(logprobs) and bool(text)
    for piece in [text] if whole else pieces(text):
        yield {**shared, "text": piece} | ({"logprobs": logprobs} if whole else {})
    rest = {name: value for name, value in choice.items() if name not in ("index", "text", "logprobs")}
    yield {**shared, "text": ""} | ({"logprobs": logprobs} if logprobs and not whole else {}) | rest

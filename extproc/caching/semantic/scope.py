"""Which requests may share an answer at all: those that differ in nothing but the words of the last user turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from extproc.api.requests import Endpoint, InferenceRequest
from extproc.caching.key import exact_key

_TURNS = {Endpoint.CHAT_COMPLETIONS: "messages", Endpoint.MESSAGES: "messages", Endpoint.RESPONSES: "input"}
_TEXT_PARTS = frozenset({"text", "input_text"})
BETWEEN_PARTS = "\n\x1e"


@dataclass(frozen=True, slots=True)
class Question:
    """The last user turn, and what else must be equal for two of them to be compared.

    Args:
        scope: 32 bytes over everything but the words: who shares answers, endpoint, model, system prompt, earlier
            turns, tools, parameters, and the media of all turns with their places.
        holder: who shares answers: a tenant, or a scope that tenants were declared to share.
        text: the words. Texts of several parts are kept apart.
    """

    scope: bytes
    holder: str
    text: str = field(repr=False)


def question_of(request: InferenceRequest, holder: str) -> Question | None:
    """What a request asks; None where there is no last user turn with words in it."""
    name = _TURNS.get(request.endpoint)
    turns = request.fields.get(name) if name else None
    if name is None or not turns:
        return None
    if type(turns) is str:
        return _question(request, holder, name, None, turns)
    last = turns[-1] if type(turns) is list else None
    if type(last) is not dict or last.get("role") != "user":
        return None
    content, text = _without_words(last.get("content"))
    return _question(request, holder, name, [*turns[:-1], {**last, "content": content}], text)


def _question(request: InferenceRequest, holder: str, name: str, turns: object, text: str) -> Question | None:
    if not text.strip():
        return None
    wordless = replace(request, fields={**request.fields, name: turns})
    return Question(exact_key(wordless, holder), holder, text)


def _without_words(content: Any) -> tuple[object, str]:
    if type(content) is str:
        return None, content
    if type(content) is not list:
        return content, ""
    texts: list[str] = []
    parts: list[object] = []
    for part in content:
        if _is_text(part):
            texts.append(part["text"])
            parts.append({**part, "text": None})
        else:
            parts.append(part)
    return parts, BETWEEN_PARTS.join(texts)


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXT_PARTS and type(part.get("text")) is str

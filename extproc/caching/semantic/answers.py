"""What a reply says in words, and whether two of them say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from extproc.api.requests import Endpoint
from extproc.caching.answer import Answer

from .words import NEGATIONS

ALIKE = 0.95
"""Cosine from which two answers without other numbers or negations say the same."""

LONGEST_COMPARED = 1000
"""Characters of an answer that may be compared by vector: models read no more than some hundred words."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def words_of(answer: Answer) -> str | None:
    """The text of a reply; None for one that holds anything else: several choices, a tool call, a refusal."""
    try:
        reply = orjson.loads(answer.body)
        match answer.endpoint:
            case Endpoint.CHAT_COMPLETIONS:
                return _of_chat(reply)
            case Endpoint.MESSAGES:
                return _of_parts(reply["content"], "text")
            case Endpoint.RESPONSES:
                messages = [item for item in reply["output"] if item["type"] != "reasoning"]
                return _of_parts(messages[0]["content"], "output_text") if len(messages) == 1 else None
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    return None


def agree(first: str, second: str, similarity: float | None) -> bool:
    """Whether two answers say the same.

    Args:
        similarity: cosine of their vectors; None if there is none: then only equal texts agree.
    """
    one, other = first.casefold().split(), second.casefold().split()
    if [word.strip(".,;:!") for word in one] == [word.strip(".,;:!") for word in other]:
        return True
    if similarity is None or similarity < ALIKE:
        return False
    same_numbers = sorted(_NUMBER.findall(first)) == sorted(_NUMBER.findall(second))
    return same_numbers and _negations(one) == _negations(other)


def _negations(words: list[str]) -> int:
    return sum(word in NEGATIONS or word.endswith("n't") for word in words)


def _of_chat(reply: Mapping[str, Any]) -> str | None:
    choices = reply["choices"]
    message = choices[0]["message"]
    if len(choices) != 1 or message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
        return None
    content = message["content"]
    return content if isinstance(content, str) and content else None


def _of_parts(parts: list[Mapping[str, Any]], kind: str) -> str | None:
    texts = [part["text"] if part["type"] == kind else None for part in parts if part["type"] != "thinking"]
    if not texts or not all(isinstance(text, str) for text in texts):
        return None
    return "".join(text for text in texts if text) or None

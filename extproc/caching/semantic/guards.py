"""Whether two questions may share an answer, whatever their similarity: similar vectors do not tell 10 from 100."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .canonical import Canonical
from .words import (
    FORMATS,
    LANGUAGES,
    MAGNITUDES,
    MEASURES,
    NEGATIONS,
    OPPOSITES,
    QUANTIFIERS,
    QUESTION_WORDS,
    RELATIONS,
    SOFT,
    TENSES,
    UNITS,
)

_OPPOSITES = frozenset(word for pair in OPPOSITES for side in pair for word in side)
_CLASSES = (
    ("negation", NEGATIONS),
    ("units", UNITS | MAGNITUDES),
    ("opposites", _OPPOSITES),
    ("question", QUESTION_WORDS),
    ("quantifiers", QUANTIFIERS),
    ("format", FORMATS),
    ("languages", LANGUAGES),
    ("measures", MEASURES),
    ("tense", TENSES),
    ("relations", RELATIONS),
)
_AFFIX = 4
"""Letters that two words have in common at their ends when one may be a variety of the other: methanol, ethanol."""


class Likeness(Enum):
    """What the words alone say of two questions."""

    SAME = "same"
    ALIKE = "alike"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guards say.

    Args:
        because: what makes them differ, or in what they may; never words of theirs.
        replaced: words of the one in whose place the other has another; one at most in those that are alike.
    """

    likeness: Likeness
    because: str = ""
    replaced: int = 0


def compare(first: Canonical, second: Canonical) -> Verdict:
    """SAME: one question in other words. ALIKE: perhaps; experience decides. DIFFERENT: never. Symmetric."""
    if first.identity == second.identity:
        return Verdict(Likeness.SAME)
    if not (first.readable and second.readable):
        return _different("language")
    if first.payload != second.payload:
        return _different("payload")
    if _numbers(first) != _numbers(second):
        return _different("numbers")
    for name, words in _CLASSES:
        if _only(first, words) != _only(second, words):
            return _different(name)
    names = first.names | second.names
    if _only(first, names) != _only(second, names):
        return _different("names")
    return _in_order(first, second, names)


def _in_order(first: Canonical, second: Canonical, names: frozenset[str]) -> Verdict:
    """Whether all words come in the same order, but for one that may stand for another."""
    ones, others = _told(first), _told(second)
    if ones == others:
        return Verdict(Likeness.ALIKE, "soft words")
    if len(ones) != len(others):
        return _different("content")
    replaced = [(one, other) for one, other in zip(ones, others, strict=True) if one != other]
    if len(replaced) > 1:
        return _different("order" if sorted(ones) == sorted(others) else "content")
    one, other = replaced[0]
    named = one.lower() in names or other.lower() in names
    if _replaceable(one, other) and not named and _is_inside(first, one) and _is_inside(second, other):
        return Verdict(Likeness.ALIKE, "one word", 1)
    return _different("content")


def _is_inside(side: Canonical, word: str) -> bool:
    """Whether a word is neither the last nor right after a preposition: there stands what is asked about."""
    at = side.tokens.index(word)
    if at + 1 == len(side.tokens):
        return False
    return side.tokens[:at] in ((), ("how", "to")) or side.tokens[at - 1] not in RELATIONS


def _replaceable(one: str, other: str) -> bool:
    if not (one.isalpha() and other.isalpha() and one.isascii() and other.isascii()):
        return False
    return min(len(one), len(other)) > 2 and one[-_AFFIX:] != other[-_AFFIX:] and one[:_AFFIX] != other[:_AFFIX]


def _numbers(side: Canonical) -> list[str]:
    return [token for token in side.tokens if any(c.isdigit() for c in token)]


def _only(side: Canonical, words: frozenset[str]) -> list[str]:
    return [token.lower() for token in side.tokens if token.lower() in words and token.lower() not in SOFT]


def _told(side: Canonical) -> list[str]:
    return [token for token in side.tokens if token.lower() not in SOFT]


def _different(because: str) -> Verdict:
    return Verdict(Likeness.DIFFERENT, because)

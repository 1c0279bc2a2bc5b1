"""The words of a question -> the form in which two of them are compared.

What is only a way of saying it (courtesy, contractions, the frame of a question, articles, some synonyms and plurals)
is taken out; everything else stays, in order: numbers, names, negation, signs. So equal forms are one question. What
this page cannot read (another language, several lines, a pasted text) is compared as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from .frames import directly, unwrapped, without_contractions, without_courtesy
from .words import (
    ABOUT_WORDS,
    ARTICLES,
    CASE_MATTERS,
    CASE_MATTERS_AFTER_A_NUMBER,
    COMPARING,
    ENGLISH,
    FOREIGN,
    NUMBER_WORDS,
    PLURAL_ONLY,
    QUANTIFIERS,
    QUESTION_WORDS,
    RELATIONS,
    SAME_VERB,
    SAME_WORD,
    TENSES,
)

LONGEST_LINE = 300
"""Characters of a question in free words; what is longer holds more than a question."""

_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_VERBATIM = re.compile(r'"[^"]*"|`[^`]*`|(?<!\w)\'[^\']+\'(?!\w)|\bhttps?://\S+|\S+@\S+\.\w+|(?<!\w)[~.]*/\S+|\w:\\\S+')
_TOKEN = re.compile(
    r"\x00\d+\x00"  # something kept as it stands
    r"|\d[\d.,:/]*\d(?![\w.])|\d+(?:\.\d+)*"  # 1,000  3.5  10:30  1/2
    r"|[^\W\d_][\w]*(?:[.'_/+#-]+\w+)*(?:\+\+|#)?"  # words, c++, node.js, snake_case, covid-19, 's
    r"|\S"
)
_CODE = re.compile(r"[{}\[\]=<>;\\|_^*&~]|\w\(|->|::")
_THOUSANDS = re.compile(r"^\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
_PAYLOAD = re.compile(r"^([^:\n]{1,200}):(\s+)(\S.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A question, ready to be compared.

    Args:
        tokens: what is asked, in order.
        payload: what it is asked about, verbatim; empty if it is all one question.
        readable: whether the tokens are English that the guards can read; otherwise only equal is equal.
        names: the tokens that were written as names: capitals inside the sentence, quoted, code, with digits.
    """

    tokens: tuple[str, ...] = field(repr=False)
    payload: str = field(default="", repr=False)
    readable: bool = True
    names: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def text(self) -> str:
        """One text for embedders; equal for equal questions and for no others."""
        return " ".join(self.tokens) + (f"\n{self.payload}" if self.payload else "")

    @property
    def identity(self) -> str:
        return f"{'read' if self.readable else 'verbatim'}\x1f" + "\x1f".join(self.tokens) + f"\x1e{self.payload}"


def canonical(text: str) -> Canonical:
    """The form of a question, found in about 0.1 ms."""
    text = unicodedata.normalize("NFC", text).translate(_PLAIN).strip()
    question, payload = _split(text)
    if question is None or not _is_english(question):
        return Canonical((), text, readable=False)
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match.group())
        return f"\x00{len(held) - 1}\x00"

    line = _VERBATIM.sub(hold, re.sub(r"\s+", " ", question))
    words = set(re.findall(r"\w+", line.lower()))
    if payload or held or _CODE.search(line) or not ABOUT_WORDS.isdisjoint(words):
        tokens = _as_written(line)
    else:
        tokens = _tokens(line, freely=COMPARING.isdisjoint(words))
    restored = tuple([held[int(token[1:-1])] if token[0] == "\x00" else token for token in tokens])
    return Canonical(restored, payload, names=_names(question, held))


def _as_written(line: str) -> list[str]:
    """The tokens of a line that may hold what is to be worked on: only what stands before its verb is taken out."""
    first, space, rest = line.partition(" ")
    line = first.lower() + space + rest
    if not re.search(r"[.!?;] ", line):
        line = directly(line)
    return _TOKEN.findall(re.sub(r"(?<=[\w\x00])[.?]$", "", line))


def _split(text: str) -> tuple[str | None, str]:
    """The question and the payload: what follows a colon. No question where there is no telling."""
    if "\x00" in text or "\x1e" in text or "\x1f" in text:
        return None, ""
    found = _PAYLOAD.match(text)
    if found and not _is_courtesy(found.group(1).lower()):
        return found.group(1) + ":", found.group(3)
    if "\n" in text or len(text) > LONGEST_LINE or "```" in text:
        return None, ""
    return text, ""


def _is_courtesy(words: str) -> bool:
    """Whether what stands before a colon is only a manner of speaking: `Quick question: ...`."""
    return without_courtesy(f"{words}: x y z") == "x y z"


def _is_english(question: str) -> bool:
    if any(ord(c) > 0x24F for c in question if c.isalpha()):
        return False
    words = re.findall(r"[^\W\d_]+", question.lower())
    known = sum(word in ENGLISH or word in _FUNCTION for word in words)
    foreign = sum(word in FOREIGN for word in words)
    known += "'s" in question
    return known > foreign and 6 * known >= len(words)


def _lower(line: str) -> str:
    """Lower case, but for words that mean something else in capitals."""
    shouted = line.upper() == line
    words = []
    line_words = line.split(" ")
    for index, word in enumerate(line_words):
        bare = word.strip(".,;:?!()'")
        low = bare.lower().removesuffix("'s")
        keeps = low in CASE_MATTERS and bare[0].isupper() and index > 0 and not shouted
        single = len(bare) == 1 and bare.isupper() and bare != "I" and index > 0 and not shouted
        unit = index > 0 and line_words[index - 1][-1:].isdigit() and low in CASE_MATTERS_AFTER_A_NUMBER
        attached = re.fullmatch(r"[\d.,]+[A-Za-z]{1,3}", bare)
        words.append(word if keeps or single or unit or attached else word.lower())
    return " ".join(words)


def _final(line: str) -> str:
    """Without the mark at its end, unless that means something: `5!`."""
    return line if re.search(r"[\d)]!+$", line) else re.sub(r"[\s.?!,;]+$", "", line)


def _tokens(line: str, *, freely: bool) -> list[str]:
    """The tokens of an English question. `freely`: words may stand for others, and phrases for phrases."""
    line = without_courtesy(_final(without_courtesy(without_contractions(_lower(line)))))
    line = unwrapped(_final(line))
    raw = _TOKEN.findall(line)
    tokens: list[str] = []
    for index, token in enumerate(raw):
        following = raw[index + 1] if index + 1 < len(raw) else ""
        if token in ARTICLES and _is_word(following) and following not in _AFTER_AN_ARTICLE:
            continue
        if token == "," and following in ("and", "or"):
            continue
        tokens.append(_number(token, "(" in raw))
    if not freely:
        return tokens
    tokens = _verb(tokens)
    return [_word(token, index, tokens) for index, token in enumerate(tokens)]


def _is_word(token: str) -> bool:
    return len(token) > 1 and token[0].isalpha()


def _number(token: str, in_brackets: bool) -> str:
    if _THOUSANDS.match(token) and not in_brackets:
        return token.replace(",", "")
    return NUMBER_WORDS.get(token, token)


def _verb(tokens: list[str]) -> list[str]:
    """The verb of a request, or after `how to`, by its common name."""
    at = 2 if tokens[:2] == ["how", "to"] else 0
    if len(tokens) > 3 and tokens[0] in _WAYS and tokens[1] in TENSES and tokens[2] in ("i", "you", "we", "one"):
        at = 3
    if at < len(tokens) and tokens[at] in SAME_VERB:
        tokens = [*tokens[:at], SAME_VERB[tokens[at]], *tokens[at + 1 :]]
    return tokens


def _word(token: str, index: int, tokens: list[str]) -> str:
    token = SAME_WORD.get(token, token)
    # After a preposition a plural is rarely meant as a number: "of electric cars".
    after_preposition = any(word in ("of", "for", "in", "about", "with") for word in tokens[max(0, index - 3) : index])
    if index and tokens[index - 1] in _OWNERS:  # "my cats" says how many
        return token
    if after_preposition or tokens[:2] == ["how", "to"]:
        return _singular(token)
    return token


def _singular(token: str) -> str:
    if len(token) < 4 or token in PLURAL_ONLY or not token.isascii() or not token.isalpha():
        return token
    if token.endswith("ies") and len(token) > 4:
        return token[:-3] + "y"
    if token.endswith(("ss", "us", "is", "ics", "ous", "ses", "xes", "ches", "shes", "zes", "oes")):
        return token
    return token[:-1] if token.endswith("s") else token


def _names(question: str, held: list[str]) -> frozenset[str]:
    """Lower-cased words that are written as names somewhere else than at the beginning."""
    words = re.findall(r"[\w.+#'-]+", question)
    capitals = {word.lower().rstrip(".'") for word in words[1:] if word[0].isupper() and word != "I"}
    digits = {word.lower() for word in words if any(c.isdigit() for c in word)}
    return frozenset(capitals | digits | set(held))


_OWNERS = ("my", "your", "his", "her", "our", "their")
_WAYS = ("how", "where", "when", "why")
_FUNCTION = ARTICLES | QUESTION_WORDS | TENSES | RELATIONS
_AFTER_AN_ARTICLE = _FUNCTION | QUANTIFIERS  # "few" is not "a few"

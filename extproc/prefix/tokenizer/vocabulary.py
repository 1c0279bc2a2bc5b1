"""Text -> token ids, quickly when most of the text was seen before.

A special token ends whatever stood before it: no merge reaches across. So a text is cut in front of its special tokens,
the pieces are tokenised one by one, and what a piece became is remembered: a conversation that grew by a turn costs
its new turn. Special tokens that a client writes are cut at, too, as the engine reads them as such.
"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from threading import Lock

from tokenizers import AddedToken, Tokenizer, processors
from xxhash import xxh3_128_digest

from extproc.prefix.tokenizer.folder import ModelFolder

_ENTRY_BYTES = 280
"""What a remembered piece costs beside its ids: key, array and their places in the map, which may have just grown."""
_SHORT_BYTES = 4096
"""Longer pieces are tokenised as a batch of one: it takes threads of its own to be called, but lets others run."""

_PROBES = (
    "",
    " ",
    "\n\n  ",
    "word",
    " word ",
    "\nword\n",
    "don't 12345 \t x",
    "ünïcödé 漢字 🙂",
    "a" * 40,
)


class BadTokenizer(ValueError):
    """A tokenizer.json that cannot be used."""


class Vocabulary:
    """A model's tokenizer, with a memory. Threads may share it.

    Args:
        max_bytes: bound of the memory, its overhead included.

    Raises:
        BadTokenizer: `tokenizers` cannot read it.
    """

    def __init__(self, folder: ModelFolder, max_bytes: int = 64 << 20) -> None:
        self._tokenizer = _load(folder)
        self._before, self._behind = self._frame()
        self._pieces: OrderedDict[bytes, array[int]] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = Lock()
        self._cut = self._cutter()

    @property
    def by_pieces(self) -> bool:
        """Whether texts are tokenised piece by piece; if not, each is tokenised whole, each time."""
        return self._cut is not None

    @property
    def remembered_bytes(self) -> int:
        """What the memory takes."""
        return self._bytes

    def token(self, token_id: int) -> str | None:
        """The text of a token."""
        found: str | None = self._tokenizer.id_to_token(token_id)
        return found

    def encode(self, text: str, *, framed: bool = False, max_new_bytes: int | None = None) -> array[int] | None:
        """Token ids of a text; None if there is more in it that is not remembered than `max_new_bytes` of UTF-8.

        Args:
            framed: with what the tokenizer puts around a bare prompt, such as a beginning-of-sequence token.

        Raises:
            UnicodeEncodeError: a lone surrogate, which is no text to a tokenizer.
        """
        found = [(piece, self._recall(piece)) for piece in map(str.encode, self._cut_up(text))]
        if max_new_bytes is not None and sum(len(piece) for piece, known in found if known is None) > max_new_bytes:
            return None
        ids = array("I", self._before if framed else ())
        for piece, known in found:
            ids.extend(self._learn(piece) if known is None else known)
        if framed:
            ids.extend(self._behind)
        return ids

    def _cut_up(self, text: str) -> Iterator[str]:
        if self._cut is None:
            yield text
            return
        start = 0
        for found in self._cut.finditer(text):
            if found.start() > start:
                yield text[start : found.start()]
                start = found.start()
        yield text[start:]

    def _recall(self, piece: bytes) -> array[int] | None:
        key = xxh3_128_digest(piece)
        with self._lock:
            known = self._pieces.get(key)
            if known is not None:
                self._pieces.move_to_end(key)
        return known

    def _learn(self, piece: bytes) -> array[int]:
        text = piece.decode()
        if len(piece) < _SHORT_BYTES:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids = array("I", encoding.ids)
        key = xxh3_128_digest(piece)
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = ids
                self._bytes += _ENTRY_BYTES + len(ids) * ids.itemsize
            while self._bytes > self._max_bytes:
                _, oldest = self._pieces.popitem(last=False)
                self._bytes -= _ENTRY_BYTES + len(oldest) * oldest.itemsize
        return ids

    def _frame(self) -> tuple[list[int], list[int]]:
        """What goes before and behind a bare prompt."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a", add_special_tokens=True).ids
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return framed[:start], framed[start + len(bare) :]
        raise BadTokenizer("what it puts around a prompt depends on the prompt")

    def _cutter(self) -> re.Pattern[str] | None:
        """Finds the tokens in front of which a text may be cut; None if there are none, or cutting would show."""
        added = list(self._tokenizer.get_added_tokens_decoder().values())
        tokens = [token.content for token in added if _stands_alone(token, added, self._tokenizer.normalizer is None)]
        if not tokens:
            return None
        pattern = re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))
        for token in tokens[:64]:
            if not all(self._cuts_cleanly(pattern, token, probe) for probe in _PROBES):
                return None
        return pattern

    def _cuts_cleanly(self, pattern: re.Pattern[str], token: str, probe: str) -> bool:
        text = f"{probe}{token}{probe}{token}{token}{probe}"
        starts = [0, *(found.start() for found in pattern.finditer(text)), len(text)]
        pieces = [text[start:end] for start, end in pairwise(starts)]
        encode = self._tokenizer.encode
        apart = [token_id for piece in pieces for token_id in encode(piece, add_special_tokens=False).ids]
        return apart == encode(text, add_special_tokens=False).ids


def _stands_alone(token: AddedToken, added: list[AddedToken], unnormalized: bool) -> bool:
    """Whether wherever the token's text begins, the tokenizer begins a token."""
    if token.lstrip or token.single_word or not (unnormalized or not token.normalized) or not token.content:
        return False
    return not any(_covers(other.content, token.content) for other in added)


def _covers(other: str, token: str) -> bool:
    """Whether `other` may begin before `token` and reach into it."""
    tails = (other[start:] for start in range(1, len(other)))
    return any(tail.startswith(token) or token.startswith(tail) for tail in tails)


def _load(folder: ModelFolder) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(folder.tokenizer)
    except Exception as error:  # the library raises plain Exception
        raise BadTokenizer(f"tokenizer.json cannot be used: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _add_missing(tokenizer, folder)
    _set_frame(tokenizer, folder)
    return tokenizer


def _add_missing(tokenizer: Tokenizer, folder: ModelFolder) -> None:
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    listed = [
        AddedToken(
            token.content,
            special=token.special,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            single_word=token.single_word,
        )
        for token in folder.added_tokens.values()
        if token.content not in known
    ]
    named = [*folder.named_tokens.values(), *folder.special_tokens]
    known |= {token.content for token in listed}
    listed += [AddedToken(text, special=True, normalized=False) for text in dict.fromkeys(named) if text not in known]
    if listed:
        tokenizer.add_tokens(listed)


def _set_frame(tokenizer: Tokenizer, folder: ModelFolder) -> None:
    if folder.adds_bos is None and tokenizer.post_processor is not None:
        return
    bos = folder.named_tokens.get("bos_token") if folder.adds_bos else None
    eos = folder.named_tokens.get("eos_token") if folder.adds_eos else None
    template = " ".join(filter(None, (bos and f"{bos}:0", "$A:0", eos and f"{eos}:0")))
    special = [(text, tokenizer.token_to_id(text)) for text in (bos, eos) if text]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)

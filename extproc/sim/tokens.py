"""A deterministic tokeniser: about four characters a token, the same text always the same ids.

It has no vocabulary. A piece of text is at most four letters with the space before them, four other characters, or four
bytes of whitespace, and its id is a hash of the piece, so two different texts differ in their ids as a real tokeniser's
would. Text is split as UTF-8, so a Chinese character is about one token, as it is for real models.
"""

from __future__ import annotations

import re
import struct
from zlib import crc32

import xxhash

MESSAGE_START = 1
MESSAGE_END = 2
IMAGE_START = 3
IMAGE_PAD = 4
IMAGE_END = 5
AUDIO_PAD = 6
VIDEO_PAD = 7

_FIRST_TEXT_ID = 256
# Ids stay within 31 bits, whatever integer type a consumer of KV events keeps them in.
_ID_MASK = 0x3FFF_FFFF
_REMEMBERED_PIECES = 1 << 17
_PIECE = re.compile(rb" ?\w{1,4}|\s{1,4}|[^\w\s]{1,4}")

_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "wa")
_WORDS = tuple(first + second for first in _SYLLABLES for second in _SYLLABLES)


class _Ids(dict[bytes, int]):
    """The ids of the pieces seen lately: looking one up is faster than hashing it."""

    def __missing__(self, piece: bytes) -> int:
        if len(self) >= _REMEMBERED_PIECES:
            self.clear()
        token_id = self[piece] = _FIRST_TEXT_ID + (crc32(piece) & _ID_MASK)
        return token_id


_ids = _Ids()


def tokenize(text: str) -> list[int]:
    """The ids of a text.

    >>> tokenize("warm prefix") == tokenize("warm") + tokenize(" prefix")
    True
    """
    return list(map(_ids.__getitem__, _PIECE.findall(text.encode("utf-8", "surrogatepass"))))


def write(prompt_ids: list[int], choice: int, count: int) -> list[str]:
    """The `count` pieces of text that the model "generates" for a prompt, one token each.

    Joined and sent back as an assistant's turn they become the very ids that were generated, so a conversation's next
    prompt finds the blocks of the last answer.
    """
    state = xxhash.xxh64_intdigest(struct.pack(f"<{len(prompt_ids)}I", *prompt_ids), seed=choice) or 1
    pieces: list[str] = []
    for _ in range(count):
        # Marsaglia's xorshift64.
        state ^= (state << 13) & 0xFFFF_FFFF_FFFF_FFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFF_FFFF_FFFF_FFFF
        pieces.append(" " + _WORDS[state & 0xFF])
    if pieces:
        pieces[0] = pieces[0].lstrip()
    return pieces

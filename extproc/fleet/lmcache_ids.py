"""A prompt's token ids as LMCache stores them.

Engines give every image the same placeholder ids. LMCache knows no extra keys, so it puts ids in their place that
follow from the image's identifier (`mm_hash_to_token_values` in its `integration/vllm/utils.py`):

    seed = sha256(identifier);  id[8 n + i] = 32-bit word i of sha256(seed + n as 8 bytes), without its top bit

all big-endian. Neither the adapter nor the cache salt is in its events.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from hashlib import sha256

from extproc.prefix.exact import ExactPrompt

_WORDS = 8
_MASK = b"\x7f\xff\xff\xff" * _WORDS


def lmcache_prompt(prompt: ExactPrompt) -> ExactPrompt:
    """The same prompt in LMCache's ids: media are in them, adapter and salt do not count."""
    if not prompt.media:
        return ExactPrompt(prompt.ids, complete=prompt.complete)
    ids = array("I", prompt.ids)
    for run in prompt.media:
        length = min(run.length, len(ids) - run.start)
        if length > 0:
            ids[run.start : run.start + length] = image_ids(run.identifier, length)
    return ExactPrompt(ids, complete=prompt.complete)


@lru_cache(maxsize=256)
def image_ids(identifier: str, length: int) -> array[int]:
    """The first ids of an image. Not to be changed."""
    seed = sha256(identifier.encode()).digest()
    mask = int.from_bytes(_MASK, "big")
    words = bytearray()
    for number in range(-(-length // _WORDS)):
        digest = sha256(seed + number.to_bytes(8, "big")).digest()
        words += (int.from_bytes(digest, "big") & mask).to_bytes(32, "big")
    ids = array("I", bytes(words))
    if sys.byteorder == "little":
        ids.byteswap()
    return ids[:length]

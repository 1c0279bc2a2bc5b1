"""Block hashes: each names its block's tokens, what else shapes their KV, and all that comes before.

The chain is built like vLLM's (`vllm/v1/core/kv_cache_utils.py`): parent, token ids, extra keys. The hash function is
our own; consumers of KV events re-key blocks anyway. The model's name is not part of it, as in vLLM.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import xxhash

from extproc.sim.requests import ExtraKeys


@dataclass(frozen=True, slots=True)
class PlacedMedia:
    """A media item and where its placeholder run stands in the prompt, in tokens."""

    identity: str
    offset: int
    tokens: int


def extra_keys(
    blocks: int, block_size: int, media: Sequence[PlacedMedia], lora_name: str | None, cache_salt: str | None
) -> list[ExtraKeys]:
    """Per block, what its hash holds besides tokens: LoRA name, ``[identity, offset from the block's start]``, salt.

    `media` is in prompt order. An item counts for each block that its run touches; the salt for the first block.
    """
    keys: list[list[object]] = [[lora_name] if lora_name else [] for _ in range(blocks)]
    for item in media:
        last = min((item.offset + item.tokens - 1) // block_size, blocks - 1)
        for block in range(item.offset // block_size, last + 1):
            keys[block].append([item.identity, item.offset - block * block_size])
    if cache_salt and blocks:
        keys[0].append(cache_salt)
    return [tuple(key) or None for key in keys]


def chain(token_ids: Sequence[int], block_size: int, extras: Sequence[ExtraKeys]) -> list[int]:
    """The 64-bit hash of each full block of `token_ids`."""
    parent = bytes(8)
    hashes: list[int] = []
    packed = struct.pack(f"<{len(token_ids)}I", *token_ids)
    block_bytes = 4 * block_size
    for block, extra in enumerate(extras[: len(token_ids) // block_size]):
        content = parent + packed[block * block_bytes : (block + 1) * block_bytes]
        if extra is not None:
            content += msgspec.msgpack.encode(extra)
        parent = xxhash.xxh3_64_digest(content)
        hashes.append(int.from_bytes(parent, "big"))
    return hashes

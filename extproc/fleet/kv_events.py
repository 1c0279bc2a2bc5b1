"""What an engine's KV events say of its cache, block by block, and what is known of the feed that brings them.

The engine's own hashes name blocks only within one replica and one medium; `fleet/blocks.py` gives them the gateway's
keys. Times are as in `fleet/events.py`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Literal

GPU = "GPU"
"""The medium of the engine's own cache; vLLM says so on CPUs too."""

HOST = "CPU"
"""The medium of a tier in the host's memory, LMCache's for example."""

BlockHash = int | bytes
"""An engine's name for a block: the low 64 bits of its hash, or all of it."""

ExtraKeys = tuple[list[object] | None, ...]
"""What else the engine hashed, for each block: None, or a list as `prefix.exact.extra_bytes` takes it."""

FeedState = Literal["whole", "partial", "down"]


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """A replica holds these blocks from now on, each the continuation of the one before it.

    Args:
        parent: the block before the first; None if it begins a prompt.
        token_ids: of all blocks (typecode "I"), `block_size` each.
        extra_keys: one entry a block; None if the sender does not say. LMCache does not.
        lora_name: of the adapter; None without one.
        group: the KV cache group that the blocks belong to; models with several kinds of layers have several.
        kind: of the group's layers, such as "full_attention"; None if the engine does not say.
    """

    at_s: float
    replica: str
    medium: str
    block_size: int
    hashes: tuple[BlockHash, ...]
    parent: BlockHash | None
    token_ids: array[int]
    extra_keys: ExtraKeys | None = None
    lora_name: str | None = None
    group: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """A replica gave up one copy of each of these blocks. It may hold further copies under the same hash."""

    at_s: float
    replica: str
    medium: str
    hashes: tuple[BlockHash, ...]
    group: int | None = None


@dataclass(frozen=True, slots=True)
class FeedReported:
    """How much of a replica's cache its feed knows.

    Args:
        state: "whole": all that happened to the engine's cache since it was last empty. "partial": the feed began
            late, or missed something that could not be had again; what is known is held, but more may be. "down": the
            engine cannot be heard; what was known may have changed.
        anew: what the feed said before counts no more, in any medium.
    """

    at_s: float
    replica: str
    state: FeedState
    anew: bool = False

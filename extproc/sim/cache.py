"""The KV blocks of one engine: reference counts, a hash index and the LRU queue of free blocks.

The rules are those of vLLM v1's block pool. A freed block keeps its content and goes to the end of the free queue; it
is found again by its hash until the queue hands it to somebody else. Two physical blocks may hold the same content.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from extproc.sim.store import BlockStore


class BlockCache:
    """A fixed number of KV blocks, named by their physical index.

    Args:
        elastic: where no block is left, `allocate` makes one, and as many are given up as soon as blocks are freed.
            For a cache that engines share: a request that was admitted by one of them cannot know what the others take.
        host_blocks: size of a tier that keeps what is evicted here.

    Attributes:
        host: that tier.
    """

    __slots__ = (
        "_by_hash",
        "_elastic",
        "_free",
        "_hash_of",
        "_references",
        "_surplus",
        "evicted_hashes",
        "evictions",
        "host",
        "total",
        "version",
    )

    def __init__(self, blocks: int, *, elastic: bool = False, host_blocks: int = 0) -> None:
        self.total = blocks
        self._elastic = elastic
        self._surplus = 0
        self.host = BlockStore(host_blocks)
        self.evictions = 0
        # Rises when a block is freed or becomes findable: until then, a request that found no room finds none.
        self.version = 0
        self.evicted_hashes: list[int] | None = None
        self._references = [0] * blocks
        self._hash_of: list[int | None] = [None] * blocks
        self._by_hash: dict[int, list[int]] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))

    @property
    def free(self) -> int:
        """Blocks that nobody uses, cached content included."""
        return len(self._free)

    @property
    def growth(self) -> float:
        """Blocks that requests which run already can still take."""
        return math.inf if self._elastic else len(self._free)

    @property
    def used(self) -> int:
        return self.total - len(self._free)

    @property
    def usage(self) -> float:
        """Share of the blocks in use by requests, 0 to 1 (vllm:kv_cache_usage_perc)."""
        return self.used / self.total

    @property
    def cached_hashes(self) -> int:
        """Different block contents that a request could hit."""
        return len(self._by_hash)

    def holds(self, block_hash: int) -> bool:
        return block_hash in self._by_hash

    def references(self, block: int) -> int:
        return self._references[block]

    def longest_prefix(self, hashes: Sequence[int], limit: int) -> list[int]:
        """The blocks that hold the longest cached prefix of a chain, at most `limit` of them; none is acquired."""
        found: list[int] = []
        by_hash = self._by_hash
        for i in range(min(limit, len(hashes))):
            blocks = by_hash.get(hashes[i])
            if blocks is None:
                break
            found.append(blocks[0])
        return found

    def free_after(self, blocks: Iterable[int]) -> int:
        """How many blocks would be free once these were acquired."""
        references = self._references
        return len(self._free) - sum(1 for block in blocks if not references[block])

    def acquire(self, blocks: Iterable[int]) -> None:
        """Take one reference to each block, out of the free queue where nobody held it."""
        references, free = self._references, self._free
        for block in blocks:
            if not references[block]:
                del free[block]
            references[block] += 1

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks off the head of the free queue, evicting what they hold. The caller checks `free`."""
        if self._elastic:
            self._stretch(count - len(self._free))
        allocated: list[int] = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._references[block] = 1
            if self._hash_of[block] is not None:
                self._evict(block)
            allocated.append(block)
        return allocated

    def store(self, block: int, block_hash: int) -> None:
        """Make a full block findable by its content."""
        self._hash_of[block] = block_hash
        self._by_hash.setdefault(block_hash, []).append(block)
        self.version += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Drop one reference to each block; those with none left queue up for reuse in the order given."""
        references, free = self._references, self._free
        for block in blocks:
            references[block] -= 1
            if not references[block]:
                free[block] = None
        if self._surplus:
            self._shrink()
        self.version += 1

    def clear(self) -> bool:
        """Forget all content; refused (False) while any block is in use, as vLLM refuses it."""
        if self.used:
            return False
        self._by_hash.clear()
        self.host.clear()
        self._hash_of = [None] * len(self._hash_of)
        self.version += 1
        return True

    def _stretch(self, blocks: int) -> None:
        for _ in range(blocks):
            self._free[len(self._references)] = None
            self._references.append(0)
            self._hash_of.append(None)
            self._surplus += 1
            self.total += 1

    def _shrink(self) -> None:
        while self._surplus and self._free:
            block, _ = self._free.popitem(last=False)
            if self._hash_of[block] is not None:
                self._evict(block)
            self._surplus -= 1
            self.total -= 1

    def _evict(self, block: int) -> None:
        block_hash = self._hash_of[block]
        assert block_hash is not None
        self._hash_of[block] = None
        holders = self._by_hash[block_hash]
        holders.remove(block)
        if not holders:
            del self._by_hash[block_hash]
            self.host.keep((block_hash,))
        self.evictions += 1
        if self.evicted_hashes is not None:
            self.evicted_hashes.append(block_hash)

"""What a cache-aware baseline believes each replica to hold: inferred from what it routed, or read from the engines."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Protocol

from bench.routing.request import BenchRequest
from extproc.sim import Engine


class View(Protocol):
    """Prompt tokens that each replica holds."""

    def matched(self, request: BenchRequest, replicas: Sequence[int]) -> dict[int, int]:
        """Leading prompt tokens by replica, at most all but the last token: that one is computed in any case."""
        ...

    def routed(self, request: BenchRequest, replica: int) -> None:
        """The request goes to the replica."""
        ...

    def computed(self, request: BenchRequest, replica: int) -> None:
        """Its prompt is computed."""
        ...

    def up(self, replica: int, capacity_tokens: int) -> None: ...

    def down(self, replica: int) -> None: ...


class Inferred:
    """What was routed to a replica is presumed to be there: an LRU of blocks for each, as large as its cache."""

    def __init__(self) -> None:
        self._shadows: dict[int, _Shadow] = {}

    def matched(self, request: BenchRequest, replicas: Sequence[int]) -> dict[int, int]:
        limit = request.prompt_tokens - 1
        return {replica: min(limit, self._shadows[replica].matched(request)) for replica in replicas}

    def routed(self, request: BenchRequest, replica: int) -> None:
        self._shadows[replica].add(request)

    def computed(self, request: BenchRequest, replica: int) -> None:
        pass

    def up(self, replica: int, capacity_tokens: int) -> None:
        self._shadows[replica] = _Shadow(capacity_tokens)

    def down(self, replica: int) -> None:
        del self._shadows[replica]


class _Shadow:
    """One replica's cache as presumed; least recently used first, a prompt's tail before its head."""

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity_tokens = capacity_tokens
        self._blocks: OrderedDict[int, int] = OrderedDict()
        self._tokens = 0

    def matched(self, request: BenchRequest) -> int:
        tokens = 0
        for block, weight in zip(request.chain.hashes, request.chain.weights, strict=True):
            if block not in self._blocks:
                break
            tokens += weight
        return tokens

    def add(self, request: BenchRequest) -> None:
        blocks, chain = self._blocks, request.chain
        for block, weight in zip(reversed(chain.hashes), reversed(chain.weights), strict=True):
            if block in blocks:
                blocks.move_to_end(block)
            else:
                blocks[block] = weight
                self._tokens += weight
        while self._tokens > self._capacity_tokens:
            self._tokens -= blocks.popitem(last=False)[1]


class Exact:
    """What the engines hold at this moment, and what they are about to: the prompts routed there and not yet computed.

    No event feed is ever as fresh as this, and without the second half it would send a prompt's twin elsewhere.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self._coming: dict[int, Counter[int]] = {}

    def matched(self, request: BenchRequest, replicas: Sequence[int]) -> dict[int, int]:
        return {replica: self._matched(request, replica) for replica in replicas}

    def _matched(self, request: BenchRequest, replica: int) -> int:
        engine, coming = self._engines[replica], self._coming[replica]
        block_size = engine.settings.block_size
        blocks = request.block_hashes
        limit = (request.prompt_tokens - 1) // block_size
        at = cached_tokens(engine, request) // block_size
        while at < limit and at < len(blocks) and (blocks[at] in coming or engine.cache.holds(blocks[at])):
            at += 1
        return at * block_size

    def routed(self, request: BenchRequest, replica: int) -> None:
        self._coming[replica].update(request.block_hashes)

    def computed(self, request: BenchRequest, replica: int) -> None:
        coming = self._coming[replica]
        for block in request.block_hashes:
            coming[block] -= 1
            if not coming[block]:
                del coming[block]

    def up(self, replica: int, capacity_tokens: int) -> None:
        self._coming.setdefault(replica, Counter())

    def down(self, replica: int) -> None:
        pass


def cached_tokens(engine: Engine, request: BenchRequest) -> int:
    """Prompt tokens that the engine would find in its cache now, and in what is behind it."""
    return engine.cached_prefix_tokens(request)

"""KVGate's first generation, reconstructed from its settings and from what its users ran into.

    score(replica) = weight_prefix * matched blocks / blocks - weight_load * in flight / most in flight

over replicas at most `max_inflight_skew` requests above the idlest. Blocks are of 16 tokens of text, and an image
counts as one token. A chain is recorded as soon as it is routed, whatever becomes of it, lapses after 300 s without
use, and is bounded by a number of blocks, not by what the engine can hold. With no match anywhere: the least busy.
"""

from __future__ import annotations

from collections import OrderedDict

from bench.routing.baselines.load import Load
from bench.routing.request import BenchRequest

_BLOCK_TOKENS = 16
_WEIGHT_PREFIX = 1.0
_WEIGHT_LOAD = 0.5
_MAX_INFLIGHT_SKEW = 8
_TTL_S = 300.0
_MAX_BLOCKS = 200_000


class FirstGeneration(Load):
    def __init__(self) -> None:
        super().__init__()
        self._tables: dict[int, _Table] = {}

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        units = _units(request)
        replica = self._best(request, units, now_s)
        self._tables[replica].add(request, units, now_s)
        return replica, request.prompt_tokens

    def _best(self, request: BenchRequest, units: list[float], now_s: float) -> int:
        ceiling = min(self.inflight[replica] for replica in self.live) + _MAX_INFLIGHT_SKEW
        near = [replica for replica in self.live if self.inflight[replica] <= ceiling]
        matched = {replica: self._tables[replica].matched(request, units, now_s) for replica in near}
        if not any(matched.values()):
            return self.least_inflight(near)
        most = max(1, max(self.inflight[replica] for replica in near))
        total = max(sum(units), 1e-9)

        def score(replica: int) -> tuple[float, int]:
            share = matched[replica] / total
            return _WEIGHT_PREFIX * share - _WEIGHT_LOAD * self.inflight[replica] / most, -replica

        return max(near, key=score)

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        super().up(replica, capacity_tokens, now_s)
        self._tables[replica] = _Table()

    def down(self, replica: int, now_s: float) -> None:
        super().down(replica, now_s)
        del self._tables[replica]


class _Table:
    """Blocks that were routed to one replica, and when last."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, tuple[float, float]] = OrderedDict()  # block -> (used at, units)
        self._units = 0.0

    def matched(self, request: BenchRequest, units: list[float], now_s: float) -> float:
        matched = 0.0
        for block, block_units in zip(request.chain.hashes, units, strict=True):
            known = self._blocks.get(block)
            if known is None or now_s - known[0] > _TTL_S:
                break
            matched += block_units
        return matched

    def add(self, request: BenchRequest, units: list[float], now_s: float) -> None:
        for block, block_units in zip(request.chain.hashes, units, strict=True):
            if self._blocks.pop(block, None) is None:
                self._units += block_units
            self._blocks[block] = (now_s, block_units)
        while self._units > _MAX_BLOCKS:
            self._units -= self._blocks.popitem(last=False)[1][1]


def _units(request: BenchRequest) -> list[float]:
    """Blocks of 16 tokens that each block of the chain stands for."""
    units = [weight / _BLOCK_TOKENS for weight in request.chain.weights]
    for place in request.media_blocks:
        units[place] = 1 / _BLOCK_TOKENS
    return units

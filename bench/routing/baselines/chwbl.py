"""Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018), as KubeAI routes.

A key's replicas follow it on a ring of hashes; the first that is not full takes the request. Full is one whose requests
in flight, with this one, are more than the bound times the fleet's mean.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable

from xxhash import xxh3_64_intdigest

from bench.routing.baselines.load import Load
from bench.routing.request import BenchRequest

_POINTS = 100  # of each replica on the ring


class Chwbl(Load):
    """The key is the first block of the prompt, or whatever `key` says.

    Args:
        bound: 1.25 lets a replica have a quarter more than the mean.
    """

    def __init__(self, key: Callable[[BenchRequest], object] | None = None, bound: float = 1.25) -> None:
        super().__init__()
        self._key = key or (lambda request: request.first_block)
        self._bound = bound
        self._ring: list[tuple[int, int]] = []

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        total = sum(self.inflight[replica] for replica in self.live)
        limit = math.ceil(self._bound * (total + 1) / len(self.live))
        start = bisect(self._ring, (xxh3_64_intdigest(str(self._key(request)).encode()), -1))
        for place in range(len(self._ring)):
            _, replica = self._ring[(start + place) % len(self._ring)]
            if self.inflight[replica] + 1 <= limit:
                return replica, request.prompt_tokens
        return self.least_inflight(self.live), request.prompt_tokens

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        super().up(replica, capacity_tokens, now_s)
        points = [(xxh3_64_intdigest(f"{replica}/{point}".encode()), replica) for point in range(_POINTS)]
        self._ring = sorted([*self._ring, *points])

    def down(self, replica: int, now_s: float) -> None:
        super().down(replica, now_s)
        self._ring = [(at, each) for at, each in self._ring if each != replica]


def session_or_first_block(request: BenchRequest) -> object:
    """The conversation where the workload names it, else the first block."""
    return request.session if request.session is not None else request.first_block

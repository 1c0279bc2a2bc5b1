"""Rules that look at no cache: random, round robin, least busy."""

from __future__ import annotations

import random

from bench.routing.baselines.load import Load
from bench.routing.request import BenchRequest


class Random(Load):
    """Any replica, by a seeded die."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        return self._dice.choice(self.live), request.prompt_tokens


class RoundRobin(Load):
    """One after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -1

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        self._last = next((replica for replica in self.live if replica > self._last), self.live[0])
        return self._last, request.prompt_tokens


class LeastBusy(Load):
    """Fewest requests in flight; equals take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._turns: dict[int, int] = {}
        self._turn = 0

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        replica = min(self.live, key=lambda each: (self.inflight[each], self._turns.get(each, 0)))
        self._turn += 1
        self._turns[replica] = self._turn
        return replica, request.prompt_tokens

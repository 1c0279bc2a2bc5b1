"""What a router can know of load from the requests that pass through it."""

from __future__ import annotations

from bench.routing.request import BenchRequest
from extproc.sim import EngineStats


class Load:
    """Counts per replica: requests in flight, prompt tokens not yet computed, tokens being decoded.

    The base of every baseline: a subclass has `choose`, which gives the replica and the prompt tokens that it will
    have to compute there.
    """

    def __init__(self) -> None:
        self.live: list[int] = []
        self.inflight: dict[int, int] = {}
        self.queued_tokens: dict[int, int] = {}
        self.active_tokens: dict[int, int] = {}
        self._uncached: dict[str, int] = {}

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        """The replica, and the tokens of the prompt that it does not hold."""
        raise NotImplementedError

    def route(self, request: BenchRequest, now_s: float) -> int:
        replica, uncached_tokens = self.choose(request, now_s)
        self.inflight[replica] += 1
        self.queued_tokens[replica] += uncached_tokens
        self.active_tokens[replica] += request.prompt_tokens
        self._uncached[request.id] = uncached_tokens
        return replica

    def first_token(self, request: BenchRequest, replica: int, now_s: float) -> None:
        self.queued_tokens[replica] -= self._uncached.pop(request.id)

    def finished(self, request: BenchRequest, replica: int, now_s: float, cached_tokens: int) -> None:
        self.inflight[replica] -= 1
        self.active_tokens[replica] -= request.prompt_tokens

    def report(self, replica: int, stats: EngineStats, now_s: float) -> None:
        pass

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        self.live = sorted([*self.live, replica])
        for count in (self.inflight, self.queued_tokens, self.active_tokens):
            count.setdefault(replica, 0)

    def down(self, replica: int, now_s: float) -> None:
        self.live = [each for each in self.live if each != replica]

    def notes(self) -> dict[str, float]:
        return {}

    def least_inflight(self, replicas: list[int]) -> int:
        """Fewest requests in flight, the first of equals."""
        return min(replicas, key=lambda replica: (self.inflight[replica], replica))

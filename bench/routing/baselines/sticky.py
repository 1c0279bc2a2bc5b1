"""llm-d's "sticky until saturated" (2026-08).

Keep the replicas that hold at least 0.8 of the prompt, unless their queued uncached tokens are more than tau above the
least of all; with none kept, keep all. Among the kept: least queued uncached tokens with mine. tau is the peak prefill
rate, which it is given, times 16 s.
"""

from __future__ import annotations

from bench.routing.baselines.cache_aware import CacheAware
from bench.routing.baselines.views import View
from bench.routing.request import BenchRequest

_MATCH = 0.8
_TAU_S = 16.0


class Sticky(CacheAware):
    """Args:
    prefill_tokens_per_s: peak rate of a replica.
    """

    def __init__(self, view: View, prefill_tokens_per_s: float) -> None:
        super().__init__(view)
        self._tau_tokens = _TAU_S * prefill_tokens_per_s

    def pick(self, request: BenchRequest, matched: dict[int, int]) -> int:
        ceiling = min(self.queued_tokens[replica] for replica in self.live) + self._tau_tokens
        kept = [
            replica
            for replica in self.live
            if matched[replica] >= _MATCH * request.prompt_tokens and self.queued_tokens[replica] <= ceiling
        ]

        def cost(replica: int) -> tuple[int, int, int]:
            tokens = self.queued_tokens[replica] + request.prompt_tokens - matched[replica]
            return tokens, self.inflight[replica], replica

        return min(kept or self.live, key=cost)

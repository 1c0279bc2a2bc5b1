"""sglang-router's cache_aware.

If the fleet is out of balance (most loaded minus least loaded above 64 requests, and most above 1.5 times least), the
least loaded; else the best prefix match if it is above 0.3 of the prompt; else the least loaded.
"""

from __future__ import annotations

from bench.routing.baselines.cache_aware import CacheAware
from bench.routing.request import BenchRequest

_BALANCE_ABSOLUTE = 64
_BALANCE_RELATIVE = 1.5
_CACHE_THRESHOLD = 0.3


class Sglang(CacheAware):
    def pick(self, request: BenchRequest, matched: dict[int, int]) -> int:
        most = max(self.inflight[replica] for replica in self.live)
        least = min(self.inflight[replica] for replica in self.live)
        if most - least > _BALANCE_ABSOLUTE and most > _BALANCE_RELATIVE * least:
            return self.least_inflight(self.live)
        best = max(self.live, key=lambda replica: matched[replica])
        if matched[best] > _CACHE_THRESHOLD * request.prompt_tokens:
            return best
        return self.least_inflight(self.live)

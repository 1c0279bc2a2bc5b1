"""LMetric (arXiv 2603.15202): the product of what is new to the cache and of how many are served already.

`lmetric` minimises new_prefill_tokens * (batch + 1), of this request alone; `lmetric_queued` counts the uncached tokens
queued ahead too.
"""

from __future__ import annotations

from bench.routing.baselines.cache_aware import CacheAware
from bench.routing.baselines.views import View
from bench.routing.request import BenchRequest


class LMetric(CacheAware):
    """Args:
    queued: tokens queued ahead count as well.
    """

    def __init__(self, view: View, *, queued: bool = False) -> None:
        super().__init__(view)
        self._queued = queued

    def pick(self, request: BenchRequest, matched: dict[int, int]) -> int:
        def cost(replica: int) -> tuple[float, int]:
            tokens = request.prompt_tokens - matched[replica]
            if self._queued:
                tokens += self.queued_tokens[replica]
            return tokens * (self.inflight[replica] + 1), replica

        return min(self.live, key=cost)

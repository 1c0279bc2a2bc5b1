"""NVIDIA Dynamo's KV router at temperature 0: least (prefill blocks not overlapping, queued and mine) + decode blocks.

Decode blocks are those of all prompts in flight. Everything is in tokens here, which changes no order; answers' own
tokens are left out, since the router does not know them beforehand.
"""

from __future__ import annotations

from bench.routing.baselines.cache_aware import CacheAware
from bench.routing.request import BenchRequest


class Dynamo(CacheAware):
    def pick(self, request: BenchRequest, matched: dict[int, int]) -> int:
        def cost(replica: int) -> tuple[int, int]:
            prefill = self.queued_tokens[replica] + request.prompt_tokens - matched[replica]
            return prefill + self.active_tokens[replica], replica

        return min(self.live, key=cost)

"""Lines, not policies: what nobody could run, to see how much is left to win.

`pooled`: all replicas share one LRU cache of the fleet's size, and each request goes where least work waits. Its hit
rate is about what any routing could reach at that size. `infinite`: the same with a cache that never evicts, so its
hit rate is the workload's own. The exact-view line of KVGate is the policy `kvgate+P`.
"""

from __future__ import annotations

from dataclasses import replace

from bench.routing.baselines.load import Load
from bench.routing.baselines.views import cached_tokens
from bench.routing.fleet import FleetPlan
from bench.routing.policy import Setting
from bench.routing.request import BenchRequest, Workload

LINES = ("pooled", "infinite")


class LeastWork(Load):
    """The replica that would be done with this prompt first, knowing every cache and every speed."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._engines = setting.engines
        self._speeds = setting.speeds

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        uncached = {each: request.prompt_tokens - cached_tokens(self._engines[each], request) for each in self.live}

        def work(replica: int) -> tuple[float, int, int]:
            tokens = self.queued_tokens[replica] + uncached[replica]
            return tokens / self._speeds[replica], self.inflight[replica], replica

        best = min(self.live, key=work)
        return best, uncached[best]


def plan_of(line: str, plan: FleetPlan, workload: Workload) -> FleetPlan:
    """The fleet that a line runs on."""
    if line == "infinite":
        kv_blocks = max(plan.kv_blocks, _never_full(workload) // plan.replicas + 1)
        return replace(plan, shared_cache=True, kv_blocks=kv_blocks)
    return replace(plan, shared_cache=True)


def _never_full(workload: Workload) -> int:
    """Blocks that hold the whole workload, and a margin for prompts that are computed twice at a time."""
    distinct: set[int] = set()
    loose = 0
    for request in workload.requests:
        distinct.update(request.block_hashes)
        loose += -(-request.total_tokens // workload.block_size) - len(request.block_hashes)
    return (len(distinct) + loose) * 5 // 4

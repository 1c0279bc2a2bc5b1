"""One policy, one workload, one fleet: a run from nothing to its numbers."""

from __future__ import annotations

from bench.routing.drive import Run, drive
from bench.routing.fleet import FleetPlan
from bench.routing.measure import Outcome
from bench.routing.oracles import LINES, plan_of
from bench.routing.policies import build
from bench.routing.policy import Setting
from bench.routing.request import Workload


def run(policy: str, workload: Workload, plan: FleetPlan, seed: int = 0) -> tuple[Run, Outcome]:
    """Serves the workload under the policy of that name.

    Raises:
        BenchFailed: there is no such policy.
    """
    if policy in LINES:
        plan = plan_of(policy, plan, workload)
    engines = plan.build()
    speeds = [plan.speed(replica) for replica in range(plan.replicas)]
    tiers = plan.host_tokens, plan.remote_tokens
    chosen = build(policy, Setting(engines, plan.prefill_tokens_per_s, speeds, seed, *tiers))
    result = drive(workload, plan, engines, chosen)
    return result, Outcome.of(result, chosen.notes())

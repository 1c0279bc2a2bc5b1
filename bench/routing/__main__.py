"""`python -m bench.routing`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.common.errors import BenchFailed
from bench.routing import arguments, plots, report, traces
from bench.routing.fleet import FleetPlan
from bench.routing.grid import configurations
from bench.routing.gridrun import run_grid
from bench.routing.one import run
from bench.routing.request import Workload
from bench.routing.results import Result
from bench.routing.workloads import make


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a workload or the grid: 0 if it could be run, whether or not the aims were met."""
    chosen = arguments.parse(argv)
    try:
        results = _grid(chosen) if chosen.grid else _one(chosen)
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(chosen).items()
            if name not in ("json", "plots")
        }
        report.write(chosen.json, settings, results)
        if chosen.plots:
            for path in plots.draw(results, chosen.plots):
                print(f"written: {path}")
    except BenchFailed as error:
        print(f"bench.routing: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _one(chosen: argparse.Namespace) -> list[Result]:
    workload = _workload(chosen)
    plan = FleetPlan(
        replicas=chosen.replicas,
        kv_blocks=chosen.blocks,
        block_size=workload.block_size,
        prefill_tokens_per_s=chosen.prefill_tok_s,
        decode_tokens_per_s=chosen.decode_tok_s,
        speeds=chosen.speeds or (),
        host_blocks=chosen.host_blocks,
        restore_tokens_per_s=chosen.restore_tok_s,
        remote_blocks=chosen.remote_blocks,
        remote_tokens_per_s=chosen.remote_tok_s,
    )
    print(f"{workload.name}: {len(workload.requests)} requests, {chosen.replicas} x {plan.kv_tokens} tokens of cache")
    results = []
    for policy in chosen.policies:
        begun_s = time.process_time()
        _, outcome = run(policy, workload, plan, chosen.seed)
        cpu_s = time.process_time() - begun_s
        print(f"  {policy}: {cpu_s:.1f} s", flush=True)
        results.append(Result(workload.name, "given", 0.0, policy, outcome, cpu_s))
    print()
    report.print_runs(results)
    return results


def _workload(chosen: argparse.Namespace) -> Workload:
    if chosen.workload:
        return make(chosen.workload, chosen.seed, chosen.conversation)
    return traces.load(chosen.trace, time_scale=chosen.time_scale, block_size=chosen.block_size, limit=chosen.limit)


def _grid(chosen: argparse.Namespace) -> list[Result]:
    workloads = list(chosen.workloads)
    if "conversation" in workloads and not chosen.conversation.exists():
        print(f"  {chosen.conversation} is not there: the grid goes without its conversation workload")
        workloads.remove("conversation")
    points = list(configurations(workloads, quick=chosen.quick, conversation=chosen.conversation))
    results = run_grid(
        points,
        chosen.policies,
        folder=chosen.folder,
        conversation=chosen.conversation,
        jobs=chosen.jobs,
        fresh=chosen.fresh,
    )
    report.print_grid(results)
    return results


if __name__ == "__main__":
    sys.exit(main())

"""Runs the grid in parallel processes, a configuration each at a time, and keeps what still holds of earlier runs."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from bench.routing.grid import SEED, Configuration
from bench.routing.one import run
from bench.routing.results import Result, Shelf, file_digest
from bench.routing.workloads import make


@dataclass(frozen=True, slots=True)
class _Task:
    """Policies that are still to run on one configuration."""

    configuration: Configuration
    policies: tuple[str, ...]
    folder: Path
    conversation: Path


def run_grid(
    configurations: Sequence[Configuration],
    policies: Sequence[str],
    *,
    folder: Path,
    conversation: Path,
    jobs: int,
    fresh: bool,
) -> list[Result]:
    """Every policy on every configuration, in that order.

    Args:
        folder: where results are kept.
        fresh: run even what is known.
    """
    shelf = Shelf(folder, file_digest(conversation))
    found: dict[tuple[str, str], Result] = {}
    tasks: list[_Task] = []
    for configuration in configurations:
        missing: list[str] = []
        for policy in policies:
            known = None if fresh else shelf.get(configuration, policy, SEED)
            if known is None:
                missing.append(policy)
            else:
                found[configuration.name, policy] = known
        if missing:
            tasks.append(_Task(configuration, tuple(missing), folder, conversation))
    _progress(f"{len(found)} results known, {sum(len(task.policies) for task in tasks)} to run")
    # A process of its own has no threads or locks of ours in it, whatever the platform's default is.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(_run, task): task for task in tasks}
        for done, future in enumerate(as_completed(running), start=1):
            results = future.result()
            found.update({(result.configuration, result.policy): result for result in results})
            cpu_s = sum(result.cpu_s for result in results)
            _progress(f"[{done}/{len(tasks)}] {running[future].configuration.name}: {len(results)} in {cpu_s:.0f} s")
    return [found[configuration.name, policy] for configuration in configurations for policy in policies]


def _run(task: _Task) -> list[Result]:
    configuration = task.configuration
    shelf = Shelf(task.folder, file_digest(task.conversation))
    workload = make(configuration.workload, SEED, task.conversation)
    results = []
    for policy in task.policies:
        begun_s = time.process_time()
        _, outcome = run(policy, workload, configuration.plan, SEED)
        cpu_s = time.process_time() - begun_s
        result = Result(configuration.workload, configuration.cache, configuration.load, policy, outcome, cpu_s)
        shelf.put(configuration, SEED, result)
        results.append(result)
    return results


def _progress(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)

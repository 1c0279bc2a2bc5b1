"""Takes turns between the targets, so that what disturbs the machine disturbs them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from bench.common.errors import BenchFailed
from bench.overhead.cases import Case
from bench.overhead.targets import Target
from bench.overhead.wrk import Load, Wrk

_WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one case against one target.

    Args:
        cpu_s: user and system time by role: `backend`, `envoy`, `processor`, `wrk`.
        machine_busy: share of all cores that were busy, 0 to 1, with everything else that ran.
    """

    case: str
    target: str
    repeat: int
    load: Load
    cpu_s: dict[str, float]
    machine_busy: float

    def cpu_us(self, role: str) -> float | None:
        """CPU per request."""
        return self.cpu_s[role] / self.load.requests * 1e6 if role in self.cpu_s else None

    def per_core(self, role: str) -> float | None:
        """Requests per second of a role's CPU time."""
        used_s = self.cpu_s.get(role)
        return self.load.requests / used_s if used_s else None

    def as_json(self) -> dict[str, Any]:
        per_request = {role: self.cpu_us(role) for role in self.cpu_s}
        derived = {"requests_per_s": self.load.requests_per_s, "cpu_us_per_request": per_request}
        return {**asdict(self), **derived}


def measure(
    targets: Sequence[Target], cases: Sequence[Case], wrk: Wrk, *, seconds: float, repeats: int
) -> list[Sample]:
    """All cases against all targets, `repeats` times.

    Raises:
        BenchFailed: a request failed, or went past the processor.
    """
    for case in cases:
        for target in targets:
            wrk.run(target.url, case, _WARM_UP_S)
    samples = []
    for repeat in range(repeats):
        for case in cases:
            for target in targets:
                sample = _once(target, case, wrk, seconds, repeat)
                samples.append(sample)
                print(
                    f"  {repeat + 1}/{repeats} {case.name:8} {target.name:7} p50 {sample.load.p50_ms:.3f} ms",
                    flush=True,
                )
    return samples


def _once(target: Target, case: Case, wrk: Wrk, seconds: float, repeat: int) -> Sample:
    processes = {role: [psutil.Process(pid) for pid in pids] for role, pids in target.pids.items()}
    skipped = target.skipped()
    before_s, busy_before_s, all_before_s = _cpu_s(processes), *_machine_s()
    load = wrk.run(target.url, case, seconds)
    try:
        after_s = _cpu_s(processes)
    except psutil.NoSuchProcess as error:
        raise BenchFailed(f"{target.name}: a process died under load: {error}") from None
    busy_after_s, all_after_s = _machine_s()
    if passed := target.skipped() - skipped:
        raise BenchFailed(f"{target.name}, {case.name}: {passed} requests went past the processor")
    cpu_s = {role: after_s[role] - before_s[role] for role in processes} | {"wrk": load.wrk_cpu_s}
    busy = (busy_after_s - busy_before_s) / max(1e-9, all_after_s - all_before_s)
    return Sample(case.name, target.name, repeat, load, cpu_s, busy)


def _cpu_s(processes: dict[str, list[psutil.Process]]) -> dict[str, float]:
    return {
        role: sum(sum(process.cpu_times()[:2]) for process in members)  # user and system, all threads
        for role, members in processes.items()
    }


def _machine_s() -> tuple[float, float]:
    """Seconds that all cores together were busy, and all their seconds."""
    times = psutil.cpu_times()
    everything = times.user + times.nice + times.system + times.idle + times.iowait + times.irq + times.softirq
    return everything - times.idle - times.iowait, everything

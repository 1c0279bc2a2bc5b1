"""Tables on stdout and the JSON document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common.report import print_aim, print_table, write_json
from bench.routing.results import Result
from bench.routing.summary import Standing, standings

_OURS = "kvgate"


def print_runs(results: Sequence[Result]) -> None:
    """One line a policy, for a single configuration."""
    header = ["policy", "mean s", "p50 s", "p95 s", "p99 s", "hit rate"]
    header += ["req/s", "tok/s", "balance", "e2e s", "refused"]
    rows = []
    for result in results:
        outcome = result.outcome
        times = [outcome.ttft_mean_s, outcome.ttft_p50_s, outcome.ttft_p95_s, outcome.ttft_p99_s]
        rows.append(
            [
                result.policy,
                *(f"{time_s:,.3f}" for time_s in times),
                f"{outcome.hit_rate:.4f}",
                f"{outcome.requests_per_s:.2f}",
                f"{outcome.output_tokens_per_s:,.0f}",
                f"{outcome.balance:.3f}",
                f"{outcome.e2e_mean_s:,.2f}",
                str(outcome.refused),
            ]
        )
    print_table(header, rows)
    for result in results:
        if result.outcome.notes:
            said = ", ".join(f"{name} {value:.4g}" for name, value in result.outcome.notes.items())
            print(f"  {result.policy}: {said}")


def print_grid(results: Sequence[Result]) -> None:
    """A table for each workload, then one over all, then the aims."""
    for workload in dict.fromkeys(result.workload for result in results):
        print(f"\n### {workload}\n")
        _print_standings(standings([result for result in results if result.workload == workload]))
    overall = standings(results)
    print(f"\n### all, {len({result.configuration for result in results})} configurations\n")
    _print_standings(overall)
    _print_worst(overall)
    _print_aims(overall)


def _print_standings(rows: Sequence[Standing]) -> None:
    print_table(
        ["policy", "mean / best", "p95 / best", "worst mean", "worst p95", "/ best with +P", "hit rate", "balance"],
        [
            [
                row.policy,
                _ratio(row.mean_ratio),
                _ratio(row.p95_ratio),
                _ratio(row.worst_mean),
                _ratio(row.worst_p95),
                f"{_ratio(row.any_mean_ratio)} {_ratio(row.any_p95_ratio)}",
                f"{row.hit_rate:.3f}",
                f"{row.balance:.3f}",
            ]
            for row in rows
        ],
    )


def _print_worst(rows: Sequence[Standing]) -> None:
    print()
    for row in rows:
        print(
            f"  {row.policy}: worst mean {_ratio(row.worst_mean)} at {row.worst_mean_at}, "
            f"worst p95 {_ratio(row.worst_p95)} at {row.worst_p95_at}"
        )


def _print_aims(rows: Sequence[Standing]) -> None:
    ours = next((row for row in rows if row.policy == _OURS), None)
    if ours is None:
        return
    print()
    for what, value, most in (
        ("mean TTFT over the best, geometric mean", ours.mean_ratio, 1.05),
        ("p95 TTFT over the best, geometric mean", ours.p95_ratio, 1.05),
        ("mean TTFT over its exact view's, geometric mean", ours.exact_mean_ratio, 1.10),
        ("p95 TTFT over its exact view's, geometric mean", ours.exact_p95_ratio, 1.10),
        (f"mean TTFT over the best, worst ({ours.worst_mean_at})", ours.worst_mean, 1.25),
        (f"p95 TTFT over the best, worst ({ours.worst_p95_at})", ours.worst_p95, 1.25),
    ):
        if not math.isnan(value):
            print_aim(f"{_OURS}: {what}", f"{value:.3f}", f"at most {most:.2f}", value <= most)


def write(path: Path, settings: Mapping[str, Any], results: Sequence[Result]) -> None:
    """The JSON document: where it was measured, the settings, the standings and every run."""
    from bench.common import machine  # not needed to run, and it starts Envoy to ask for its version

    workloads = list(dict.fromkeys(result.workload for result in results))
    document: dict[str, Any] = {"benchmark": "routing", **machine.describe(), "settings": dict(settings)}
    document["standings"] = {
        "all": [row.as_json() for row in standings(results)],
        **{
            workload: [row.as_json() for row in standings([each for each in results if each.workload == workload])]
            for workload in workloads
        },
    }
    document["runs"] = [result.as_json() for result in results]
    write_json(path, document)


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"

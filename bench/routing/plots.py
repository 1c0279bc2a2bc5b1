"""Plots, each as PNG and SVG: distribution of TTFT by policy, and hit rate by policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common.plotting import pyplot, save
from bench.routing.oracles import LINES
from bench.routing.results import Result

_OURS = "#d62728"
_COLOURS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#ff7f0e")
_CDF_AT = (("medium", 0.7), ("medium", 0.5))  # the point of the grid that stands for a workload, if it was run
_COLUMNS = 3
_SHORTEST_S = 1e-3


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draws both plots, a panel for each workload.

    Returns:
        The files written.

    Raises:
        BenchFailed: matplotlib is not installed.
    """
    written: list[Path] = []
    for name, panel in (("ttft_cdf", _cdf), ("hit_rate", _hit_rates)):
        workloads = list(dict.fromkeys(result.workload for result in results))
        columns = min(_COLUMNS, len(workloads))
        rows = -(-len(workloads) // columns)
        height = 5.0 if name == "ttft_cdf" else 1.5 + 0.25 * len({result.policy for result in results})
        figure, axes = pyplot().subplots(
            rows, columns, figsize=(6.5 * columns, height * rows), squeeze=False, layout="constrained"
        )
        places = list(axes.flat)
        for axis, workload in zip(places, workloads, strict=False):
            panel(axis, [result for result in results if result.workload == workload])
        for axis in places[len(workloads) :]:
            axis.set_axis_off()
        written += save(figure, folder, name)
    return written


def _cdf(axis: Any, results: Sequence[Result]) -> None:
    shown = _one_configuration(results)
    for number, result in enumerate(shown):
        points = result.outcome.ttft_cdf_s
        shares = [place / (len(points) - 1) for place in range(len(points))]
        axis.plot([max(_SHORTEST_S, point) for point in points], shares, label=result.policy, **_style(result, number))
    axis.set_xscale("log")
    axis.set_xlabel("TTFT, s")
    axis.set_ylabel("share of requests")
    axis.set_ylim(0, 1)
    axis.set_title(shown[0].configuration)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2)


def _hit_rates(axis: Any, results: Sequence[Result]) -> None:
    policies = list(dict.fromkeys(result.policy for result in results))
    rates = []
    for policy in policies:
        own = [result.outcome.hit_rate for result in results if result.policy == policy]
        rates.append(sum(own) / len(own))
    bars = axis.barh(policies, rates, color=[_bar_colour(policy) for policy in policies])
    axis.bar_label(bars, fmt="%.3f", padding=2, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlim(0, max([*rates, 0.01]) * 1.15)
    axis.set_xlabel("prompt tokens found in the engines' caches, share")
    axis.set_title(f"{results[0].workload}, {len({result.configuration for result in results})} configurations")


def _one_configuration(results: Sequence[Result]) -> list[Result]:
    for cache, load in _CDF_AT:
        if shown := [result for result in results if (result.cache, result.load) == (cache, load)]:
            return shown
    return [result for result in results if result.configuration == results[0].configuration]


def _style(result: Result, number: int) -> dict[str, Any]:
    if result.policy in LINES:
        return {"color": "black", "linestyle": "--" if result.policy == LINES[0] else ":", "linewidth": 1.2}
    exact = result.policy.endswith("+P")
    if result.policy.removesuffix("+P") == "kvgate":
        return {"color": _OURS, "linewidth": 2.2, "linestyle": "-." if exact else "-"}
    return {"color": _COLOURS[number % len(_COLOURS)], "linewidth": 1.0, "linestyle": "-." if exact else "-"}


def _bar_colour(policy: str) -> str:
    if policy in LINES:
        return "black"
    if policy.startswith("kvgate"):
        return _OURS
    return "#9ecae1" if policy.endswith("+P") else "#3182bd"

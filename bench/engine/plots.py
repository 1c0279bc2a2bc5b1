"""Plots, each as PNG and SVG: the distribution of TTFT by variant, a panel for each scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.common.plotting import pyplot, save
from bench.engine.summary import Summary

_COLOURS = ("#7f7f7f", "#d62728", "#1f77b4", "#2ca02c")


def draw(summary: Summary, folder: Path) -> list[Path]:
    """All repeats of a variant are one curve.

    Returns:
        The files written.

    Raises:
        BenchFailed: matplotlib is not installed.
    """
    scenarios = summary.scenarios()
    figure, axes = pyplot().subplots(
        1, len(scenarios), figsize=(5.5 * len(scenarios), 4.0), squeeze=False, layout="constrained"
    )
    for axis, scenario in zip(axes.flat, scenarios, strict=True):
        _cdf(axis, summary, scenario)
    return save(figure, folder, f"engine-{summary.experiment}")


def _cdf(axis: Any, summary: Summary, scenario: str) -> None:
    for number, variant in enumerate(summary.variants(scenario)):
        times_ms = sorted(ms for cell in summary.of(scenario, variant) for ms in cell.outcome.ttft_ms)
        shares = [(place + 1) / len(times_ms) for place in range(len(times_ms))]
        axis.step(times_ms, shares, where="post", label=variant, color=_COLOURS[number % len(_COLOURS)])
    axis.set_xscale("log")
    axis.set_xlabel("TTFT, ms")
    axis.set_ylabel("share of requests")
    axis.set_ylim(0, 1)
    axis.set_title(scenario)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)

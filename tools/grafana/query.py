"""What a panel is, and the queries that they are made of.

Every query sums over gateways; `$model` and `$instance` narrow it down. `M` and `I` are those two as matchers.
"""

from __future__ import annotations

from dataclasses import dataclass

M, I = 'model=~"$model",instance=~"$instance"', 'instance=~"$instance"'  # noqa: E741
R = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Args:
        unit: Grafana's name for it.
        queries: expression and legend.
        stacked: parts of a whole.
        most: top of the axis, where the numbers have one.
    """

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stacked: bool = False
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a title."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str = "", more: str = "", matchers: str = M) -> str:
    """Events a second of a counter, added up."""
    inside = ",".join(each for each in (matchers, more) if each)
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({metric}{{{inside}}}{R}))"


def quantile(share: float, histogram: str, by: str = "", more: str = "", matchers: str = M) -> str:
    """A quantile over all that is not in `by`."""
    groups = ", ".join(each for each in ("le", by) if each)
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', groups, more, matchers)})"


def share(part: str, whole: str) -> str:
    """One rate as a part of another; nothing while the other is 0."""
    return f"{part} / ({whole} > 0)"


def quantiles(histogram: str, more: str = "", matchers: str = M) -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99."""
    return tuple((quantile(each / 100, histogram, "", more, matchers), f"p{each}") for each in (50, 95, 99))

"""From results to comparisons: each policy relative to the best one of each configuration.

The best is the best of those that could really run: neither an exact view (`+P`) nor an oracle line counts, though
both are compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.routing.oracles import LINES
from bench.routing.results import Result

_LEAST_S = 1e-9


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy over many configurations.

    Args:
        mean_ratio: geometric mean of mean TTFT over the best real policy's.
        p95_ratio: the same of the 95th percentile.
        any_mean_ratio: as `mean_ratio`, the best being taken from exact views as well.
        any_p95_ratio: as `p95_ratio`, likewise.
        worst_mean: largest ratio of mean TTFT, and `worst_mean_at` its configuration.
        worst_p95: the same of the 95th percentile.
        hit_rate: mean over the configurations.
        balance: mean over the configurations.
        exact_mean_ratio: geometric mean of mean TTFT over that of the policy's own exact view; nan if that did not run.
        exact_p95_ratio: the same of the 95th percentile.
        exact_worst: the largest of both.
    """

    policy: str
    mean_ratio: float
    p95_ratio: float
    any_mean_ratio: float
    any_p95_ratio: float
    worst_mean: float
    worst_mean_at: str
    worst_p95: float
    worst_p95_at: str
    hit_rate: float
    balance: float
    exact_mean_ratio: float
    exact_p95_ratio: float
    exact_worst: float

    def as_json(self) -> dict[str, Any]:
        return {name: None if value != value else value for name, value in asdict(self).items()}


def could_run(policy: str) -> bool:
    """Whether it needs nothing that no gateway has."""
    return policy not in LINES and not policy.endswith("+P")


def standings(results: Sequence[Result]) -> list[Standing]:
    """Policies in the order in which they first appear; only over configurations that all of them have."""
    policies = list(dict.fromkeys(result.policy for result in results))
    by_place: dict[str, dict[str, Result]] = {}
    for result in results:
        by_place.setdefault(result.configuration, {})[result.policy] = result
    places = {place: ran for place, ran in by_place.items() if len(ran) == len(policies)}
    means = _Ratios(places, lambda result: result.outcome.ttft_mean_s)
    p95s = _Ratios(places, lambda result: result.outcome.ttft_p95_s)
    return [_standing(policy, places, means, p95s) for policy in policies]


def _standing(policy: str, places: dict[str, dict[str, Result]], means: _Ratios, p95s: _Ratios) -> Standing:
    worst_mean, worst_mean_at = means.worst(policy)
    worst_p95, worst_p95_at = p95s.worst(policy)
    exact_means, exact_p95s = means.over_exact(policy), p95s.over_exact(policy)
    return Standing(
        policy=policy,
        mean_ratio=geometric_mean(means.over_best(policy).values()),
        p95_ratio=geometric_mean(p95s.over_best(policy).values()),
        any_mean_ratio=geometric_mean(means.over_best(policy, exact=True).values()),
        any_p95_ratio=geometric_mean(p95s.over_best(policy, exact=True).values()),
        worst_mean=worst_mean,
        worst_mean_at=worst_mean_at,
        worst_p95=worst_p95,
        worst_p95_at=worst_p95_at,
        hit_rate=_mean(ran[policy].outcome.hit_rate for ran in places.values()),
        balance=_mean(ran[policy].outcome.balance for ran in places.values()),
        exact_mean_ratio=geometric_mean(exact_means.values()),
        exact_p95_ratio=geometric_mean(exact_p95s.values()),
        exact_worst=max([*exact_means.values(), *exact_p95s.values()], default=math.nan),
    )


class _Ratios:
    """One measure of every policy in every configuration, and what it is relative to others'."""

    def __init__(self, places: dict[str, dict[str, Result]], measure: Callable[[Result], float]) -> None:
        self._values = {
            place: {policy: max(_LEAST_S, measure(result)) for policy, result in ran.items()}
            for place, ran in places.items()
        }

    def over_best(self, policy: str, *, exact: bool = False) -> dict[str, float]:
        """By configuration; the best is a real policy, or with `exact` an exact view as well."""
        ratios = {}
        for place, values in self._values.items():
            rivals = [value for each, value in values.items() if could_run(each) or (exact and each not in LINES)]
            ratios[place] = values[policy] / min(rivals or values.values())
        return ratios

    def over_exact(self, policy: str) -> dict[str, float]:
        """By configuration; empty if the policy's exact view did not run."""
        exact = f"{policy}+P"
        return {place: values[policy] / values[exact] for place, values in self._values.items() if exact in values}

    def worst(self, policy: str) -> tuple[float, str]:
        return max(((ratio, place) for place, ratio in self.over_best(policy).items()), default=(math.nan, ""))


def geometric_mean(values: Iterable[float]) -> float:
    """nan for no values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan

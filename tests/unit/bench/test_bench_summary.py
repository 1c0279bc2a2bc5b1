"""Comparisons: who is the best, and how far the others are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.routing import one
from bench.routing.grid import Configuration
from bench.routing.measure import Outcome
from bench.routing.results import Result, Shelf, sources
from bench.routing.summary import standings
from tests.unit.bench.make import plan, prompt, workload


def outcome() -> Outcome:
    return one.run("round_robin", workload(prompt("a", 1)), plan())[1]


def result(policy: str, mean_s: float, p95_s: float, load: float = 0.5) -> Result:
    return Result("w", "medium", load, policy, replace(outcome(), ttft_mean_s=mean_s, ttft_p95_s=p95_s), 0.1)


def test_ratios_are_over_the_best_policy_that_could_run() -> None:
    results = [result("a", 2.0, 4.0), result("b", 1.0, 8.0), result("a+P", 0.5, 1.0), result("pooled", 0.1, 0.1)]

    rows = {row.policy: row for row in standings(results)}

    assert (rows["a"].mean_ratio, rows["a"].p95_ratio) == pytest.approx((2.0, 1.0))
    assert (rows["b"].mean_ratio, rows["b"].p95_ratio) == pytest.approx((1.0, 2.0))
    assert rows["a"].any_mean_ratio == pytest.approx(4.0)
    assert rows["a"].exact_mean_ratio == pytest.approx(4.0)
    assert rows["a+P"].mean_ratio == pytest.approx(0.5)


def test_ratios_are_averaged_geometrically_and_the_worst_is_named() -> None:
    results = [
        result("a", 1.0, 1.0, load=0.3),
        result("b", 4.0, 1.0, load=0.3),
        result("a", 4.0, 1.0, load=0.9),
        result("b", 1.0, 1.0, load=0.9),
    ]

    first, second = standings(results)

    assert first.mean_ratio == second.mean_ratio == pytest.approx(2.0)
    assert (first.worst_mean_at, second.worst_mean_at) == ("w/medium/0.9", "w/medium/0.3")


def test_a_configuration_that_a_policy_lacks_is_left_out_for_all() -> None:
    results = [result("a", 1.0, 1.0, load=0.3), result("b", 2.0, 1.0, load=0.3), result("a", 9.0, 1.0, load=0.9)]

    assert [row.mean_ratio for row in standings(results)] == pytest.approx([1.0, 2.0])


def test_a_result_is_found_again_until_something_it_depends_on_changes(tmp_path: Path) -> None:
    point = Configuration("w", "medium", 0.5, plan())
    shelf = Shelf(tmp_path, inputs="trace")
    kept = result("round_robin", 1.0, 2.0)

    shelf.put(point, 1, kept)

    assert shelf.get(point, "round_robin", 1) == kept
    assert shelf.get(point, "round_robin", 2) is None
    assert shelf.get(point, "random", 1) is None
    assert shelf.get(replace(point, plan=plan(kv_blocks=65)), "round_robin", 1) is None
    assert Shelf(tmp_path, inputs="another trace").get(point, "round_robin", 1) is None


def test_a_damaged_result_is_run_again(tmp_path: Path) -> None:
    point, shelf = Configuration("w", "medium", 0.5, plan()), Shelf(tmp_path)
    shelf.put(point, 1, result("round_robin", 1.0, 2.0))
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")

    assert shelf.get(point, "round_robin", 1) is None


def test_the_gateways_own_policies_depend_on_more_code_than_the_baselines() -> None:
    assert sources("kvgate") == sources("kvgate+P") != sources("sticky") == sources("round_robin")


def test_quantiles_and_rates_come_from_what_was_served() -> None:
    measured = one.run("round_robin", workload(prompt("a", 1), prompt("b", 1, arrival_s=4.0)), plan(1))[1]

    assert measured.hit_rate == pytest.approx(64 / 130)
    assert measured.ttft_p50_s <= measured.ttft_mean_s <= measured.ttft_p99_s
    assert measured.ttft_cdf_s[-1] == pytest.approx(measured.ttft_p99_s, abs=1e-6)
    assert measured.requests_per_s == pytest.approx(2 / measured.duration_s)
    assert measured.balance == 1.0

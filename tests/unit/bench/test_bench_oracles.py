"""Oracle lines bound what policies can reach."""

from __future__ import annotations

import pytest

from bench.routing import one
from bench.routing.fleet import FleetPlan
from bench.routing.generators.mix import mix
from bench.routing.request import Workload
from bench.routing.sizing import pooled_uncached_tokens, working_set_tokens
from tests.unit.bench.make import plan, prompt, workload

POLICIES = ("random", "round_robin", "least_busy", "session", "sglang", "sticky", "sticky+P", "lmetric_queued+P")


@pytest.fixture(scope="module")
def load() -> Workload:
    return mix("mix", 11, sessions=25, block_size=64)


def fleet(load: Workload, share: float) -> FleetPlan:
    kv_blocks = max(300, int(working_set_tokens(load) * share / 3 / 64))
    return FleetPlan(3, kv_blocks, 64, prefill_tokens_per_s=20_000.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_hits_more_than_an_infinite_cache(load: Workload, policy: str) -> None:
    bound = one.run("infinite", load, fleet(load, 0.3))[1]
    outcome = one.run(policy, load, fleet(load, 0.3))[1]

    assert outcome.hit_rate <= bound.hit_rate
    assert outcome.ttft_mean_s >= bound.ttft_mean_s * 0.95


def test_the_infinite_line_hits_all_that_was_ever_sent_before() -> None:
    load = workload(*(prompt(str(i), i % 3, arrival_s=float(i)) for i in range(12)))

    outcome = one.run("infinite", load, plan(kv_blocks=5))[1]

    assert outcome.hit_rate == pytest.approx(9 * 64 / (12 * 65))


def test_a_pooled_cache_is_hit_by_any_replica() -> None:
    load = workload(*(prompt(str(i), 1, arrival_s=float(i)) for i in range(4)))

    run, outcome = one.run("pooled", load, plan())

    assert outcome.hit_rate == pytest.approx(3 * 64 / (4 * 65))
    assert outcome.preemptions == 0
    assert sum(run.requests) == 4


def test_a_pooled_cache_that_is_short_still_serves_everybody(load: Workload) -> None:
    outcome = one.run("pooled", load, fleet(load, 0.01))[1]

    assert outcome.requests == len(load.requests)


def test_a_pooled_lru_that_never_evicts_misses_each_block_once() -> None:
    load = workload(*(prompt(str(i), i % 3, arrival_s=float(i)) for i in range(6)))

    assert sum(pooled_uncached_tokens(load, 10**9)) == 3 * 65 + 3 * 1
    assert sum(pooled_uncached_tokens(load, 0)) == 6 * 65

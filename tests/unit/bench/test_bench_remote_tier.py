"""The gateway's policy and a store behind the simulated engines."""

from __future__ import annotations

from dataclasses import replace

from bench.routing.one import run
from bench.routing.ours import KvGate
from bench.routing.policies import GRID, UNTOLD, build
from tests.unit.bench.make import BLOCK, plan, setting
from tests.unit.bench.test_bench_host_tier import in_turn

FLEET = plan(replicas=2, kv_blocks=96, remote_blocks=1000, remote_tokens_per_s=20_000.0)


def test_a_policy_that_knows_of_the_store_knows_what_engines_find_there() -> None:
    asked = in_turn(rounds=10)
    _, told = run("kvgate", asked, FLEET)
    _, untold = run("kvgate-T", asked, FLEET)
    assert told.notes["cached_error_share"] < untold.notes["cached_error_share"]


def test_each_is_told_what_its_name_says() -> None:
    both = replace(FLEET, host_blocks=100)
    told = replace(setting(both), host_tokens=both.host_tokens, remote_tokens=both.remote_tokens)
    sizes = {}
    for name in ("kvgate", *UNTOLD, "kvgate+P"):
        policy = build(name, told)
        assert isinstance(policy, KvGate)
        policy.up(0, FLEET.kv_tokens, 0.0)
        sizes[name] = [tier.capacity_tokens for tier in policy.fleet.index.tiers("replica-00")]
    host, remote = 100 * BLOCK, 1000 * BLOCK
    assert sizes == {"kvgate": [host, remote], "kvgate-T": [], "kvgate-R": [host], "kvgate+P": []}


def test_the_grid_goes_without() -> None:
    assert not set(UNTOLD) & set(GRID)

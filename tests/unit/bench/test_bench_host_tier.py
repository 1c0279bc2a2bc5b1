"""The gateway's policy and host tiers behind the simulated engines."""

from __future__ import annotations

from dataclasses import replace

from bench.routing.one import run
from bench.routing.ours import KvGate
from bench.routing.policies import GRID, build, known
from bench.routing.request import Workload
from tests.unit.bench.make import BLOCK, plan, prompt, setting, workload

FLEET = plan(replicas=2, kv_blocks=96, host_blocks=1000, restore_tokens_per_s=20_000.0)
TOPICS = 7


def in_turn(rounds: int) -> Workload:
    """More topics than the GPUs can hold, one after the other, again and again: an odd number, so that who takes turns
    between two replicas sends each topic to the other one next time."""
    numbers = range(rounds * TOPICS)
    return workload(*(prompt(f"r{each}", each % TOPICS, blocks=40, arrival_s=0.5 * each) for each in numbers))


def test_a_policy_that_knows_of_tiers_goes_where_the_prompt_can_be_restored() -> None:
    asked = in_turn(rounds=10)
    _, told = run("kvgate", asked, FLEET)
    _, untold = run("kvgate-T", asked, FLEET)
    assert told.hit_rate > untold.hit_rate
    assert told.ttft_mean_s < untold.ttft_mean_s


def test_it_is_told_their_size() -> None:
    told = replace(setting(FLEET), host_tokens=FLEET.host_tokens)
    assert FLEET.host_tokens == 1000 * BLOCK
    policy = build("kvgate", told)
    assert isinstance(policy, KvGate)
    policy.up(0, FLEET.kv_tokens, 0.0)
    tier = policy.fleet.index.tier("replica-00")
    assert tier is not None and tier.capacity_tokens == 1000 * BLOCK


def test_one_that_is_not_told_and_an_exact_view_presume_no_tier() -> None:
    told = replace(setting(FLEET), host_tokens=FLEET.host_tokens)
    for name in ("kvgate-T", "kvgate+P"):
        policy = build(name, told)
        assert isinstance(policy, KvGate)
        policy.up(0, FLEET.kv_tokens, 0.0)
        assert policy.fleet.index.tier("replica-00") is None


def test_the_grid_goes_without() -> None:
    assert "kvgate-T" in known()
    assert "kvgate-T" not in GRID

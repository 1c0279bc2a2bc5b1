"""The virtual clock: order, times, who comes and who goes."""

from __future__ import annotations

import pytest

from bench.routing import one
from bench.routing.drive import Run, drive
from bench.routing.fleet import FleetPlan
from bench.routing.generators.mix import mix
from bench.routing.policies import GRID
from bench.routing.request import Workload
from tests.unit.bench.make import Fixed, plan, prompt, workload

BASELINES = [name for name in GRID if not name.startswith("kvgate")]


def served(load: Workload, fleet: FleetPlan, policy: Fixed) -> Run:
    return drive(load, fleet, fleet.build(), policy)


@pytest.mark.parametrize("policy", BASELINES)
def test_the_same_run_twice_gives_the_same_numbers(policy: str) -> None:
    load = mix("mix", 7, sessions=12, block_size=64)
    fleet = FleetPlan(3, 600, 64, prefill_tokens_per_s=4000.0)

    assert one.run(policy, load, fleet, seed=3)[1] == one.run(policy, load, fleet, seed=3)[1]


@pytest.mark.parametrize("policy", BASELINES)
def test_every_request_is_served_while_replicas_join_and_leave(policy: str) -> None:
    load = mix("mix", 7, sessions=12, block_size=64)
    fleet = FleetPlan(3, 600, 64, prefill_tokens_per_s=4000.0, joins=((1, 3.0),), leaves=((2, 6.0),))

    run, outcome = one.run(policy, load, fleet)

    assert outcome.requests == len(load.requests)
    assert all(each.arrived_s <= each.first_s <= each.finished_s for each in run.served)
    assert all(each.replica != 1 for each in run.served if each.arrived_s < 3.0)
    assert all(each.replica != 2 for each in run.served if each.arrived_s > 6.0)


def test_ttft_is_the_time_in_the_queue_and_in_prefill() -> None:
    first, second = prompt("a", 1, blocks=10, output_tokens=1), prompt("b", 2, blocks=10, arrival_s=0.1)

    run = served(workload(first, second), plan(1), Fixed(0))

    # 161 tokens at 1,000 a second and 1 ms for the step; the second comes in the midst of it.
    assert [each.first_s - each.arrived_s for each in run.served] == pytest.approx([0.162, 0.062 + 0.162])


def test_what_arrives_together_is_scheduled_together() -> None:
    run = served(workload(prompt("a", 1), prompt("b", 2)), plan(1), Fixed(0))

    assert run.served[0].first_s == run.served[1].first_s


def test_an_arrival_during_a_long_decode_does_not_wait_for_its_end() -> None:
    long, late = prompt("a", 1, output_tokens=600), prompt("b", 2, arrival_s=2.0)

    run = served(workload(long, late), plan(1), Fixed(0))

    assert run.served[0].finished_s > 9.0
    assert run.served[1].first_s < 2.2


def test_a_prompt_on_a_warm_replica_is_charged_for_its_tail_alone() -> None:
    load = workload(prompt("a", 1), prompt("b", 1, arrival_s=5.0), prompt("c", 1, arrival_s=5.0))

    run = served(load, plan(), Fixed(0, 0, 1))

    assert [each.cached_tokens for each in run.served] == [0, 64, 0]


def test_a_request_that_fits_in_no_cache_is_refused_and_counted() -> None:
    load = workload(prompt("huge", 1, blocks=65), prompt("next", 2, after="huge"), prompt("small", 3))
    policy = Fixed(0)

    run = served(load, plan(), policy)

    assert run.refused == 1
    assert set(policy.times("finished")) == {"next", "small"}


def test_a_closed_loop_sends_the_next_request_when_one_ends() -> None:
    policy = Fixed(0)
    load = workload(*(prompt(str(number), number) for number in range(6)), concurrency=2)

    served(load, plan(), policy)

    under_way = highest = 0
    for what, _, _ in policy.heard:
        under_way += (what == "route") - (what == "finished")
        highest = max(highest, under_way)
    assert highest == 2
    assert len(policy.times("finished")) == 6


def test_a_turn_comes_after_the_answer_to_the_one_before() -> None:
    first = prompt("a", 1, output_tokens=120)
    policy = Fixed(0)

    served(workload(first, prompt("b", 1, arrival_s=0.5, after="a", think_s=1.0)), plan(), policy)

    assert policy.times("route")["b"] == pytest.approx(policy.times("finished")["a"] + 1.0)


def test_a_replica_that_leaves_finishes_what_it_has() -> None:
    policy = Fixed(1, 0)
    load = workload(prompt("a", 1, output_tokens=300), prompt("b", 2, arrival_s=3.0))

    run = served(load, plan(leaves=((1, 2.0),)), policy)

    assert policy.times("down") == {1: 2.0}
    assert run.served[0].finished_s > 4.0


def test_naming_a_replica_that_is_not_up_is_an_error() -> None:
    with pytest.raises(LookupError, match="replica 1 is not up"):
        served(workload(prompt("a", 1)), plan(joins=((1, 2.0),)), Fixed(1))


def test_metrics_of_the_replicas_that_are_up_come_every_second() -> None:
    policy = Fixed(0)

    served(workload(prompt("a", 1, output_tokens=200)), plan(joins=((1, 2.5),)), policy)

    reports = [(who, at_s) for kind, who, at_s in policy.heard if kind == "report"]
    assert reports == [(0, 1.0), (0, 2.0), (0, 3.0), (1, 3.0)]


def test_a_replica_at_half_speed_takes_twice_as_long() -> None:
    load = workload(prompt("a", 1, blocks=60), prompt("b", 2, blocks=60))

    run = served(load, plan(speeds=(1.0, 0.5)), Fixed(0, 1))

    assert run.served[1].first_s == pytest.approx(2 * run.served[0].first_s, rel=0.01)

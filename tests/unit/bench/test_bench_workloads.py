"""The generated workloads are what they say they are, and the same for everybody."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from bench.routing.fleet import FleetPlan
from bench.routing.grid import SHAPES, configurations
from bench.routing.sizing import largest_request_tokens
from bench.routing.workloads import NAMES, make


@pytest.mark.parametrize("name", ["images_12", "images_40"])
def test_image_experiments_ask_about_each_image_equally_often(name: str) -> None:
    load = make(name, 1)
    images = Counter(each.chain.hashes[each.media_blocks[0]] for each in load.requests)

    assert len(load.requests) == {"images_12": 120, "images_40": 80}[name]
    assert set(images.values()) == {len(load.requests) // int(name.removeprefix("images_"))}
    assert load.concurrency == 8


@pytest.mark.parametrize("name", ["image_chat", "agents", "viral", "mixed_fleet"])
def test_a_workload_has_a_few_thousand_requests_in_order_of_arrival(name: str) -> None:
    load = make(name, 1)

    assert 2000 <= len(load.requests) <= 4000
    assert [each.arrival_s for each in load.requests] == sorted(each.arrival_s for each in load.requests)
    assert len({each.id for each in load.requests}) == len(load.requests)


def test_another_seed_is_another_workload_and_the_same_seed_the_same() -> None:
    assert make.__wrapped__("images_40", 1) == make.__wrapped__("images_40", 1)
    assert make.__wrapped__("images_40", 1) != make.__wrapped__("images_40", 2)


def test_a_workload_does_not_depend_on_the_process() -> None:
    program = "from bench.routing.workloads import make; print(make('images_12', 1).requests[7].block_hashes[-1])"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert int(other) == make("images_12", 1).requests[7].block_hashes[-1]


def test_four_in_five_requests_share_the_viral_prefix() -> None:
    load = make("viral", 1)
    _, count = Counter(each.first_block for each in load.requests).most_common(1)[0]

    assert count / len(load.requests) == pytest.approx(0.8, abs=0.03)


def test_a_turn_contains_the_whole_conversation_before_it() -> None:
    load = make("agents", 1)
    by_id = {each.id: each for each in load.requests}
    later = [each for each in load.requests if each.after is not None]

    assert len(later) > 0.9 * len(load.requests)
    for each in later[:50]:
        before = by_id[each.after or ""]
        computed = before.block_hashes + before.output_block_hashes
        assert each.block_hashes[: len(computed)] == computed
        assert each.session == before.session


def test_the_grid_is_three_cache_sizes_by_four_load_levels() -> None:
    points = list(configurations(["images_12", "viral"]))

    assert len(points) == len({point.name for point in points}) == 2 * 3 * 4
    rates = [point.plan.prefill_tokens_per_s for point in points[:4]]
    assert rates == sorted(rates, reverse=True)
    assert points[0].plan.kv_blocks < points[4].plan.kv_blocks < points[8].plan.kv_blocks


def test_no_request_of_the_grid_is_too_large_for_a_replica() -> None:
    for name in ("images_40", "viral"):
        largest = largest_request_tokens(make(name, 20261122))
        assert all(point.plan.kv_tokens >= 2 * largest for point in configurations([name]))


def test_every_workload_has_a_fleet() -> None:
    assert tuple(SHAPES) == NAMES


def test_a_load_level_is_reckoned_for_the_fleet_at_its_smallest() -> None:
    fleet = FleetPlan(4, 10, 16, 1.0, speeds=(1.0, 1.0, 1.0, 0.5), joins=((3, 10.0),), leaves=((0, 20.0),))

    assert fleet.smallest_speed == 2.5

"""What is learned of a replica's speed from first tokens."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.pace import Pace
from extproc.fleet.speed import Speed


def taught(rate: float, base_s: float, *, samples: int = 100, noise: float = 0.0, seed: int = 1) -> Speed:
    chance, speed = random.Random(seed), Speed()
    for _ in range(samples):
        work = math.exp(chance.uniform(math.log(30), math.log(20_000)))
        speed.learn(work, (base_s + work / rate) * chance.lognormvariate(0, noise))
    return speed


@pytest.mark.parametrize("rate", [300.0, 8_000.0, 200_000.0])
@pytest.mark.parametrize("base_s", [0.002, 0.05, 0.5])
def test_the_true_line_is_found_whatever_the_prior_was(rate: float, base_s: float) -> None:
    speed = taught(rate, base_s)
    for work in (100, 1000, 10_000):
        assert speed.predict_s(work) == pytest.approx(base_s + work / rate, rel=0.15)


def test_a_few_samples_are_enough_to_tell_a_fast_replica_from_a_slow_one() -> None:
    fast, slow = taught(40_000, 0.02, samples=5), taught(4_000, 0.02, samples=5)
    assert slow.predict_s(5000) > 3 * fast.predict_s(5000)


def test_noise_and_a_tenth_of_nonsense_do_not_carry_it_away() -> None:
    chance, speed = random.Random(3), Speed()
    for number in range(300):
        work = chance.uniform(500, 20_000)
        honest_s = (0.05 + work / 10_000) * chance.lognormvariate(0, 0.2)
        speed.learn(work, honest_s * 50 if number % 10 == 0 else honest_s)
    assert speed.predict_s(10_000) == pytest.approx(1.05, rel=0.4)


def test_a_replica_that_slows_down_is_found_out() -> None:
    speed = taught(20_000, 0.02)
    for _ in range(60):
        speed.learn(8000, 0.02 + 8000 / 5000)
    assert speed.predict_s(8000) == pytest.approx(1.62, rel=0.15)


def test_prompts_that_are_all_alike_still_give_a_line() -> None:
    speed = Speed()
    for _ in range(100):
        speed.learn(1000, 0.5)
    assert speed.predict_s(1000) == pytest.approx(0.5, rel=0.1)
    assert speed.predict_s(4000) > speed.predict_s(1000)


@pytest.mark.parametrize("ttft_s", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_cannot_be_is_refused(ttft_s: float) -> None:
    speed = Speed()
    assert not speed.learn(100, ttft_s)
    assert speed.samples == 0


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(1e-6, 1e5)), max_size=60))
def test_whatever_it_is_told_it_predicts_a_time(samples: list[tuple[float, float]]) -> None:
    speed = Speed()
    for work, ttft_s in samples:
        speed.learn(work, ttft_s)
    assert speed.tokens_per_s > 0
    assert speed.base_s >= 0
    assert math.isfinite(speed.predict_s(1e6))


def test_a_pace_is_what_happened_lately_over_the_time_it_took() -> None:
    pace = Pace(memory_s=60)
    for second in range(600):
        pace.add(5, float(second))
    assert pace.per_s(600) == pytest.approx(5, rel=0.03)
    assert pace.per_s(900) < 0.1


def test_a_pace_that_has_just_begun_is_not_diluted_by_the_time_before() -> None:
    pace = Pace(memory_s=60)
    for tenth in range(50):
        pace.add(1, 1000 + tenth / 10)
    assert pace.per_s(1005) == pytest.approx(10, rel=0.1)


def test_a_clock_that_jumps_back_does_not_make_a_pace_explode() -> None:
    pace = Pace(memory_s=60)
    pace.add(1, 1000)
    pace.add(1, 0)
    assert 0 < pace.per_s(0) <= 2


def test_times_of_short_prompts_say_nothing_of_long_ones_however_they_scatter() -> None:
    for seed in range(20):
        chance, kin = random.Random(seed), Speed()
        replicas = [Speed(kin), Speed(kin)]
        before_s = kin.predict_s(2000)
        for number in range(16):
            work, ttft_s = chance.choice([5, 10, 25]), 0.06 * chance.lognormvariate(0, 0.6)
            kin.learn(work, ttft_s)
            replicas[number % 2].learn(work, ttft_s)
        for speed in replicas:
            assert before_s / 2 < speed.predict_s(2000) < 2 * before_s


def test_replicas_that_are_alike_stay_alike_where_times_scatter() -> None:
    for seed in range(20):
        chance, kin = random.Random(seed), Speed()
        replicas = [Speed(kin), Speed(kin)]
        for _ in range(60):
            work = 2000 * chance.choice([1, 2, 3, 4])
            ttft_s = (0.03 + work / 9000) * chance.lognormvariate(0, 0.4)
            kin.learn(work, ttft_s)
            seen_as_fast = min(replicas, key=lambda each: each.predict_s(2000))
            seen_as_fast.learn(work, ttft_s)  # the other one is asked for nothing
        fast_s, slow_s = sorted(each.predict_s(2000) for each in replicas)
        assert slow_s < 1.5 * fast_s


def test_a_replica_that_was_slow_once_and_is_not_asked_since_is_taken_for_one_like_the_others_in_time() -> None:
    kin = Speed()
    idle = Speed(kin)
    for _ in range(5):
        kin.learn(4000, 5.0)
        idle.learn(4000, 5.0)
    seen_s = []
    for _ in range(600):
        kin.learn(4000, 0.5)
        seen_s.append(idle.predict_s(4000))
    assert seen_s[0] > 1.5
    assert seen_s[-1] == pytest.approx(kin.predict_s(4000), rel=0.1)

"""How long a prompt would wait on a replica, and what the engine's own count adds to ours."""

from __future__ import annotations

import pytest

from extproc.fleet.replica import ReplicaState
from extproc.fleet.speed import Speed


def full(**changes: float) -> ReplicaState:
    """Ten requests in flight on a replica that holds 10,000 tokens; each takes 5 s and answers with 200 tokens."""
    state = ReplicaState("a", inflight=10, latency_s=5.0, answer_tokens=200.0)
    state.capacity.report(10_000)
    for name, value in changes.items():
        setattr(state, name, value)
    return state


class TestMemory:
    def test_a_prompt_waits_until_enough_of_what_runs_has_ended(self) -> None:
        in_use, prompt, answer = 8000 + 10 * 100, 1300, 200
        excess = in_use + prompt + answer - 10_000
        assert full().memory_wait_s(prompt, 8000) == pytest.approx(excess / in_use * 5.0)

    def test_a_prompt_that_fits_waits_for_nothing(self) -> None:
        assert full().memory_wait_s(500, 8000) == 0.0

    def test_an_idle_replica_makes_room_by_evicting(self) -> None:
        assert full(inflight=0).memory_wait_s(9999, 0) == 0.0

    def test_nothing_is_predicted_of_a_cache_of_unknown_size_or_before_the_first_answer(self) -> None:
        assert full(latency_s=None).memory_wait_s(5000, 9000) == 0.0
        unknown = full()
        unknown.capacity.report(None)
        assert unknown.memory_wait_s(5000, 9000) == 0.0

    def test_being_late_for_want_of_room_counts_once(self) -> None:
        state = full()
        state.queue.push("first", 800.0, 0.0, timed=True)
        late_s = state.wait_s(10.0)
        assert late_s == pytest.approx(10.0 - 800.0 / state.speed.tokens_per_s)
        assert state.wait_s(10.0, late_s / 2) == pytest.approx(late_s)
        assert state.wait_s(10.0, late_s * 2) == pytest.approx(late_s * 2)

    def test_a_prompt_waits_for_room_even_where_nothing_is_queued(self) -> None:
        assert full().wait_s(10.0, 3.0) == 3.0


def test_a_replica_whose_samples_say_little_is_taken_to_be_as_fast_as_its_kin() -> None:
    kin = Speed()
    for _ in range(50):
        kin.learn(6000, 0.02 + 6000 / 20_000)
        kin.learn(50, 0.02 + 50 / 20_000)
    unlucky = Speed(kin)
    for _ in range(50):  # short prompts alone, each a little late
        unlucky.learn(50, 0.03)
    assert unlucky.predict_s(6000) == pytest.approx(kin.predict_s(6000), rel=0.25)


def test_a_replica_that_is_slower_than_its_kin_is_found_out() -> None:
    kin = Speed()
    for _ in range(50):
        kin.learn(6000, 0.02 + 6000 / 20_000)
    slow = Speed(kin)
    for _ in range(30):
        slow.learn(6000, 0.02 + 6000 / 5000)
    assert slow.predict_s(6000) == pytest.approx(1.22, rel=0.2)

"""What a replica has yet to compute, between the few things that are heard of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.prefill import PrefillQueue


def queue(*tokens: float, timed: bool = False) -> PrefillQueue:
    """Prompts named 0, 1, ... that were sent at time 0."""
    prompts = PrefillQueue()
    for number, each in enumerate(tokens):
        prompts.push(str(number), each, 0.0, timed=timed)
    return prompts


def test_a_first_token_tells_that_everything_before_it_is_computed() -> None:
    prompts = queue(100, 200, 300)
    prompts.done("1")
    assert prompts.tokens == 300


def test_a_request_that_left_says_nothing_of_the_others() -> None:
    prompts = queue(100, 200, 300)
    prompts.drop("1")
    assert prompts.tokens == 400


def test_between_reports_the_queue_drains_at_the_replicas_speed() -> None:
    prompts = queue(100, 200, 300)
    prompts.drain(1.5, tokens_per_s=100)
    assert prompts.tokens == 450
    prompts.drain(100.0, tokens_per_s=100)
    assert prompts.tokens == 0
    assert len(prompts) == 0


def test_idle_time_is_not_saved_up() -> None:
    prompts = queue()
    prompts.drain(100.0, tokens_per_s=100)
    prompts.push("late", 50, 100.0, timed=False)
    prompts.drain(100.1, tokens_per_s=100)
    assert round(prompts.tokens, 6) == 40


def test_a_request_whose_first_token_will_be_seen_is_not_done_before_it_is() -> None:
    prompts = queue(100, 200, timed=True)
    prompts.drain(5.0, tokens_per_s=100)
    assert prompts.tokens == 0
    assert prompts.stall_s == 2.0
    prompts.done("0")
    assert (prompts.tokens, prompts.stall_s) == (200, 0.0)


def test_a_short_prompt_that_shares_its_step_with_a_long_one_does_not_hold_up_the_reckoning() -> None:
    prompts = queue(10, 400, timed=True)
    prompts.drain(2.1, tokens_per_s=100)
    assert prompts.tokens == 200
    assert prompts.stall_s == 0


def test_a_report_that_comes_twice_or_too_late_changes_nothing() -> None:
    prompts = queue(100, 200)
    prompts.done("0")
    prompts.done("0")
    prompts.drop("0")
    assert prompts.tokens == 200


def test_a_clock_that_jumps_back_computes_nothing() -> None:
    prompts = queue(100)
    prompts.drain(-50.0, tokens_per_s=100)
    assert prompts.tokens == 100


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 9), st.floats(0, 1e6), st.booleans()),
        st.tuples(st.sampled_from(["done", "drop"]), st.integers(0, 9), st.just(0.0), st.just(False)),
        st.tuples(st.just("drain"), st.integers(-5, 5), st.floats(1e-3, 1e6), st.just(False)),
    ),
    max_size=50,
)


@given(steps)
def test_tokens_and_stall_are_never_negative_and_an_empty_queue_has_none(
    history: list[tuple[str, int, float, bool]],
) -> None:
    prompts, now_s = PrefillQueue(), 0.0
    waiting: set[str] = set()
    for what, number, amount, timed in history:
        if what == "push" and str(number) not in waiting:
            prompts.push(str(number), amount, now_s, timed=timed)
            waiting.add(str(number))
        elif what == "drain":
            now_s += number
            prompts.drain(now_s, amount)
        elif what in ("done", "drop"):
            getattr(prompts, what)(str(number))
        waiting = {name for name in waiting if name in prompts}
        assert prompts.tokens >= -1e-3
        assert prompts.stall_s >= 0
        assert waiting or prompts.tokens == 0

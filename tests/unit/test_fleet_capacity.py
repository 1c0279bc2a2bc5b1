"""How much a replica's cache is believed to hold: what its engine says, and what its answers tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.capacity import Capacity
from extproc.fleet.events import CapacityReported, Usage
from extproc.fleet.state import Fleet
from extproc.prefix import Chain
from tests.unit.say import chain, fleet_of, routed, served


def prompt(*blocks: int) -> Chain:
    """Blocks of 1,000 tokens, so that an error of position is less than one of them."""
    return chain(*blocks, block_tokens=1000)


def ask(fleet: Fleet, asked: Chain, at_s: float, cached_tokens: int | None = None) -> None:
    """A request to replica a that is served within half a second."""
    ticket = f"at {at_s}"
    fleet.apply(routed(ticket, "a", asked, at_s=at_s, matched=fleet.index.match(asked).get("a", 0)))
    usage = Usage(asked.prompt_tokens, 0, cached_tokens)
    fleet.apply(served(ticket, "a", at_s=at_s + 0.5, usage=usage))


def believed(fleet: Fleet) -> int | None:
    return fleet.replicas["a"].capacity.tokens


class TestWhatTheEngineSays:
    def test_it_is_believed_at_once_and_what_no_longer_fits_is_evicted(self) -> None:
        fleet = fleet_of("a")
        ask(fleet, prompt(1, 2, 3, 4), at_s=1.0)
        fleet.apply(CapacityReported(2.0, "a", 2500))
        assert believed(fleet) == 2500
        assert fleet.index.match(prompt(1, 2, 3, 4)) == {"a": 2000}
        fleet.apply(CapacityReported(3.0, "a", 1000))
        assert fleet.index.match(prompt(1, 2, 3, 4)) == {"a": 1000}

    def test_when_it_vanishes_nothing_is_evicted_until_answers_tell(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(1.0, "a", 2000))
        fleet.apply(CapacityReported(2.0, "a", None))
        ask(fleet, prompt(1, 2, 3, 4), at_s=3.0)
        assert believed(fleet) is None
        assert fleet.index.room("a") is None
        assert fleet.index.match(prompt(1, 2, 3, 4)) == {"a": 4000}

    def test_the_same_figure_again_does_not_undo_what_was_learned(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(0.0, "a", 9000))
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        ask(fleet, prompt(1, 2, 3), at_s=2.0, cached_tokens=0)
        learned = believed(fleet)
        fleet.apply(CapacityReported(3.0, "a", 9000))
        assert believed(fleet) == learned != 9000
        fleet.apply(CapacityReported(4.0, "a", 8000))
        assert believed(fleet) == 8000

    def test_of_an_unknown_replica_it_changes_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(1.0, "nobody", 5))
        assert list(fleet.replicas) == ["a"]

    @pytest.mark.parametrize("figure", [0, 1, 2**53])
    def test_no_figure_is_too_odd_to_go_on_with(self, figure: int) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(1.0, "a", figure))
        ask(fleet, prompt(1, 2, 3), at_s=2.0)
        assert fleet.index.tokens("a") <= max(1, figure)


class TestWhatAnswersTell:
    def test_an_engine_that_says_nothing_has_at_most_what_it_was_seen_to_keep(self) -> None:
        fleet = fleet_of("a")
        for number in range(6):
            ask(fleet, prompt(10 * number, 10 * number + 1), at_s=float(number))
        ask(fleet, prompt(20, 21), at_s=10.0, cached_tokens=0)
        assert believed(fleet) == 8000  # the three that were used after it, and its own
        assert fleet.index.match(prompt(0, 1)) == fleet.index.match(prompt(10, 11)) == {}
        assert fleet.index.match(prompt(50, 51)) == {"a": 2000}

    def test_each_eviction_that_was_not_foreseen_moves_the_belief_towards_what_it_showed(self) -> None:
        capacity = Capacity()
        capacity.report(10_000)
        seen = []
        for _ in range(30):
            capacity.too_high(6000)
            seen.append(capacity.tokens or 0)
        assert seen[0] == 9200
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] == pytest.approx(6000, rel=0.01)

    def test_an_engine_that_lost_its_whole_cache_is_not_taken_for_a_small_one(self) -> None:
        capacity = Capacity()
        capacity.report(10_000)
        capacity.too_high(500)
        assert capacity.tokens == 10_000

    def test_one_that_keeps_more_than_was_foreseen_regrows_but_not_beyond_what_it_says(self) -> None:
        capacity = Capacity()
        capacity.report(10_000)
        for _ in range(10):
            capacity.too_high(4000)
        low = capacity.tokens or 0
        capacity.too_low()
        assert low < (capacity.tokens or 0) < 1.1 * low
        for _ in range(200):
            capacity.too_low()
        assert capacity.tokens == 10_000

    def test_an_answer_with_more_in_the_cache_than_foreseen_makes_the_belief_grow(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(0.0, "a", 9000))
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        ask(fleet, prompt(1, 2, 3), at_s=2.0, cached_tokens=0)
        low = believed(fleet) or 0
        ask(fleet, prompt(7, 8), at_s=3.0, cached_tokens=2000)
        assert low < (believed(fleet) or 0) <= 9000

    def test_a_count_within_the_error_of_our_estimate_tells_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(CapacityReported(0.0, "a", 9000))
        ask(fleet, prompt(1, 2, 3), at_s=1.0)
        ask(fleet, prompt(1, 2, 3), at_s=2.0, cached_tokens=2900)
        assert believed(fleet) == 9000
        assert fleet.index.match(prompt(1, 2, 3)) == {"a": 3000}


tokens = st.integers(0, 2**53)
lessons = st.one_of(
    st.builds(lambda kept: lambda capacity: capacity.too_high(kept), tokens),
    st.just(Capacity.too_low),
)


@given(st.none() | tokens, st.lists(lessons, max_size=60))
def test_no_history_leads_above_what_the_engine_says_or_below_a_tenth_of_it(
    reported: int | None, history: list[Callable[[Capacity], None]]
) -> None:
    capacity = Capacity()
    capacity.report(reported)
    for lesson in history:
        lesson(capacity)
        if reported is not None:
            assert capacity.tokens is not None
            assert max(1, reported // 10 - 1) <= capacity.tokens <= max(1, reported)
        elif capacity.tokens is not None:
            assert capacity.tokens >= 1024

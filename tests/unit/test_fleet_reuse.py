"""What is worth keeping: how likely what a cache evicts is asked for again, how soon it goes, who else needs it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.index import CacheIndex
from extproc.fleet.reuse import Reuse
from extproc.prefix import Chain
from tests.unit.say import chain
from tests.unit.test_fleet_index import index_of

MANY = 1_000_000
"""Tokens next to which the prior counts for little."""


def lasting_tokens(index: CacheIndex, *blocks: int, matched: int = 0) -> float:
    """Of a prompt of these blocks, ten tokens each."""
    prompt = chain(*blocks)
    return index.look_up(prompt).lasting_tokens(matched, prompt.prompt_tokens)


class TestChance:
    def test_before_anything_was_seen_it_is_the_same_for_every_age(self) -> None:
        reuse = Reuse()
        assert {reuse.chance(idle_s) for idle_s in (0.0, 1.0, 3600.0, math.inf)} == {0.2}

    def test_it_is_the_share_that_was_used_again(self) -> None:
        reuse = Reuse()
        reuse.used(10.0, 3 * MANY)
        reuse.evicted((), MANY, used_s=0.0, now_s=10.0)
        assert reuse.chance(10.0) == pytest.approx(0.75, abs=0.01)

    def test_what_was_used_again_soon_says_nothing_of_what_has_been_idle_for_long(self) -> None:
        reuse = Reuse()
        reuse.used(1.0, MANY)
        reuse.evicted((), MANY, used_s=0.0, now_s=300.0)
        assert reuse.chance(1.0) == pytest.approx(0.5, abs=0.01)
        assert reuse.chance(300.0) < 0.01

    def test_what_was_used_again_late_had_been_worth_keeping_all_the_time(self) -> None:
        reuse = Reuse()
        reuse.used(300.0, MANY)
        assert reuse.chance(1.0) == reuse.chance(300.0) > 0.95

    def test_an_evicted_run_that_is_asked_for_raises_it(self) -> None:
        reuse = Reuse()
        reuse.evicted((1, 2, 3), MANY, used_s=0.0, now_s=10.0)
        before = reuse.chance(10.0)
        reuse.missed((1, 2, 3, 4), 12.0)
        assert before < 0.01
        assert reuse.chance(10.0) > 0.95

    def test_runs_that_were_evicted_piece_by_piece_are_all_missed(self) -> None:
        reuse = Reuse()
        reuse.evicted((3, 4), MANY, used_s=0.0, now_s=10.0)
        reuse.evicted((1, 2), MANY, used_s=0.0, now_s=11.0)
        reuse.missed((1, 2, 3, 4), 12.0)
        assert reuse.chance(10.0) > 0.95

    def test_a_run_is_missed_once(self) -> None:
        reuse = Reuse()
        reuse.evicted((1, 2), MANY, used_s=0.0, now_s=10.0)
        reuse.evicted((8, 9), MANY, used_s=0.0, now_s=10.0)
        for _ in range(3):
            reuse.missed((1, 2), 12.0)
        assert reuse.chance(10.0) == pytest.approx(0.5, abs=0.01)

    def test_another_prompt_misses_nothing(self) -> None:
        reuse = Reuse()
        reuse.evicted((1, 2), MANY, used_s=0.0, now_s=10.0)
        reuse.missed((7, 1, 2), 12.0)
        assert reuse.chance(10.0) < 0.01

    def test_old_habits_are_forgotten(self) -> None:
        wasteful, thrifty = Reuse(), Reuse()
        for _ in range(100):
            wasteful.evicted((), MANY, used_s=0.0, now_s=10.0)
            thrifty.used(10.0, MANY)
        for _ in range(60):
            wasteful.used(10.0, MANY)
            thrifty.evicted((), MANY, used_s=0.0, now_s=10.0)
        assert wasteful.chance(10.0) > 0.8
        assert thrifty.chance(10.0) < 0.2

    def test_evictions_by_the_million_are_remembered_in_bounded_memory(self) -> None:
        reuse = Reuse()
        for number in range(60_000):
            reuse.evicted((number,), 1, used_s=0.0, now_s=10.0)
        assert len(reuse._ghosts) == 20_000
        for number in range(40_000, 60_000):
            reuse.missed((number,), 10.0)
        assert reuse.chance(10.0) == pytest.approx((20_000 + 4_000) / (60_000 + 20_000))

    times = st.floats(allow_nan=False) | st.floats(0, 1e5)
    calls = st.one_of(
        st.tuples(st.just("used"), times, st.integers(0, 10**7)),
        st.tuples(st.just("evicted"), st.lists(st.integers(0, 20), max_size=4), st.integers(0, 10**7), times, times),
        st.tuples(st.just("missed"), st.lists(st.integers(0, 20), max_size=8), times),
    )

    @given(calls=st.lists(calls, max_size=60))
    def test_it_is_a_probability_whatever_happens_and_falls_with_age_or_not(self, calls: list[tuple[str, ...]]) -> None:
        reuse = Reuse()
        for name, *arguments in calls:
            getattr(reuse, name)(*arguments)
            assert all(0 <= reuse.chance(idle_s) <= 1 for idle_s in (-1.0, 0.0, 1.0, 3600.0, math.inf, math.nan))


class TestWhatTheIndexTellsOfReuse:
    def test_a_fleet_that_evicts_what_is_asked_for_again_finds_its_chance_high(self) -> None:
        thrashing, calm = index_of("a", capacity=20_000), index_of("a", capacity=20_000)
        for turn in range(20):
            thrash(thrashing, turn % 3, at_s=10.0 * turn)
            thrash(calm, turn, at_s=10.0 * turn)
        assert thrashing.reuse.chance(10.0) > 0.5
        assert calm.reuse.chance(10.0) < 0.1

    def test_what_is_found_in_a_cache_raises_it(self) -> None:
        index = index_of("a", capacity=20_000)
        for turn in range(20):
            thrash(index, 1, at_s=10.0 * turn)
        assert index.reuse.chance(10.0) > 0.5

    def test_a_copy_that_another_replica_still_has_is_not_missed(self) -> None:
        index = index_of("a", "b", capacity=20_000)
        for replica in ("a", "b"):
            index.store(replica, big(1), at_s=0.0)
        index.store("a", big(2), at_s=10.0)
        index.store("a", big(3), at_s=20.0)
        assert index.match(big(1)) == {"b": 10_000}
        index.remove("b")
        before = index.reuse.chance(10.0)
        index.claim("a", big(1), at_s=30.0)
        assert index.reuse.chance(10.0) <= before

    def test_the_last_copy_is(self) -> None:
        index = index_of("a", capacity=20_000)
        for number in (1, 2, 3):
            index.store("a", big(number), at_s=10.0 * number)
        assert index.match(big(1)) == {}
        before = index.reuse.chance(10.0)
        index.claim("a", big(1), at_s=40.0)
        assert index.reuse.chance(10.0) > before


class TestLastingTokens:
    def test_of_what_nobody_knows_every_token_counts(self) -> None:
        assert lasting_tokens(index_of("a"), 1, 2, 3) == 30

    def test_what_is_matched_is_not_computed(self) -> None:
        index = index_of("a")
        index.store("a", chain(1, 2))
        assert lasting_tokens(index, 1, 2, 3, matched=20) == 10

    def test_a_conversations_own_history_counts_in_full(self) -> None:
        index = index_of("a", "b")
        for replica in ("a", "b"):
            index.store(replica, chain(1, 2, 3))
        assert lasting_tokens(index, 1, 2, 3, 4) == 40
        assert lasting_tokens(index, 1, 2, 3) == 30

    @pytest.mark.parametrize("conversations", [1, 2, 9])
    def test_a_system_prompt_under_n_conversations_is_shared_out_among_them_and_a_new_one(
        self, conversations: int
    ) -> None:
        index = index_of("a")
        for number in range(conversations):
            index.store("a", chain(1, 2, 100 + number))
        assert lasting_tokens(index, 1, 2, 3) == pytest.approx(20 / (1 + conversations) + 10)

    @pytest.mark.parametrize("conversations", [2, 3, 9])
    def test_the_next_turn_of_one_of_them_shares_it_with_the_others(self, conversations: int) -> None:
        index = index_of("a")
        for number in range(conversations):
            index.store("a", chain(1, 2, 100 + number))
        assert lasting_tokens(index, 1, 2, 100, 3) == pytest.approx(20 / conversations + 20)

    def test_shared_beginnings_of_shared_beginnings_count_by_all_who_have_them(self) -> None:
        index = index_of("a")
        for number in range(4):
            index.store("a", chain(1, 2, 100 + number))
        for number in range(4):
            index.store("a", chain(1, 50 + number))
        # block 1 belongs to eight others, block 2 to four
        assert lasting_tokens(index, 1, 2, 3) == pytest.approx(10 / 9 + 10 / 5 + 10)

    def test_only_the_part_behind_the_match_counts(self) -> None:
        index = index_of("a")
        for number in range(3):
            index.store("a", chain(1, 2, 100 + number))
        assert lasting_tokens(index, 1, 2, 3, matched=10) == pytest.approx(10 / 4 + 10)

    def test_requests_in_flight_share_what_they_are_computing(self) -> None:
        index = index_of("a")
        for _ in range(4):
            index.claim("a", chain(1, 2))
        assert lasting_tokens(index, 1, 2, 3) == pytest.approx(20 / 5 + 10)
        for _ in range(4):
            index.release("a", chain(1, 2))
        assert lasting_tokens(index, 1, 2, 3) == 30

    def test_a_copy_elsewhere_is_not_another_prompt(self) -> None:
        index = index_of("a", "b", "c")
        for replica in ("a", "b", "c"):
            index.store(replica, chain(1, 2))
        assert lasting_tokens(index, 1, 2, 3) == 30

    @given(
        known=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=8),
        asked=st.lists(st.integers(0, 2), max_size=5),
        matched=st.integers(0, 60),
    )
    def test_they_are_never_more_than_what_is_computed(
        self, known: list[list[int]], asked: list[int], matched: int
    ) -> None:
        index = index_of("a")
        for blocks in known:
            index.store("a", chain(*blocks))
        prompt = chain(*asked, tail_tokens=3)
        lookup = index.look_up(prompt)
        assert 0 <= lookup.lasting_tokens(matched, prompt.prompt_tokens) <= max(0, prompt.prompt_tokens - matched)
        ends = [end for end, _ in lookup.spans]
        assert ends == sorted(set(ends))
        assert max(ends, default=0) >= max(lookup.tokens.values(), default=0)


class TestLifetime:
    def test_a_full_cache_evicts_at_the_age_of_its_oldest(self) -> None:
        index = index_of("a", capacity=40)
        index.store("a", chain(1, 2), at_s=100.0)
        index.store("a", chain(3, 4), at_s=130.0)
        assert index.lifetime_s("a", now_s=160.0) == 60.0

    def test_one_that_fills_up_will_take_in_proportion(self) -> None:
        index = index_of("a", capacity=80)
        index.store("a", chain(1, 2), at_s=100.0)
        assert index.lifetime_s("a", now_s=130.0) == 30.0 * 80 / 20

    def test_use_makes_it_longer_for_nobody_else(self) -> None:
        index = index_of("a", capacity=40)
        index.store("a", chain(1, 2), at_s=100.0)
        index.store("a", chain(3, 4), at_s=130.0)
        index.store("a", chain(1, 2), at_s=150.0)
        assert index.lifetime_s("a", now_s=160.0) == 30.0

    def test_it_is_without_end_where_nothing_is_known_to_be_evicted(self) -> None:
        index = index_of("a", "empty", capacity=40)
        index.set_capacity("a", None)
        index.store("a", chain(1), at_s=1.0)
        assert [index.lifetime_s(name, 5.0) for name in ("a", "empty", "unknown")] == [math.inf] * 3

    def test_a_clock_that_goes_back_makes_no_negative_time(self) -> None:
        index = index_of("a", capacity=40)
        index.store("a", chain(1), at_s=100.0)
        assert index.lifetime_s("a", now_s=50.0) == 0.0


def big(number: int) -> Chain:
    """A prompt that fills half of a cache of 20,000 tokens."""
    return chain(*range(1000 * number, 1000 * number + 10), block_tokens=1000)


def thrash(index: CacheIndex, number: int, at_s: float) -> None:
    """A request for a prompt of half the cache comes, is computed and ends."""
    prompt = big(number)
    index.claim("a", prompt, at_s)
    index.store("a", prompt, at_s)
    index.release("a", prompt)

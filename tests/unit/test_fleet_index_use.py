"""What requests in flight, answers and engine reports do to the cache index."""

from __future__ import annotations

from tests.unit.say import chain
from tests.unit.test_fleet_index import index_of


def test_what_is_in_flight_counts_until_it_ends() -> None:
    index = index_of("a")
    index.claim("a", chain(1, 2))
    index.claim("a", chain(1, 2))
    index.release("a", chain(1, 2))
    assert index.match(chain(1, 2)) == {"a": 20}
    index.release("a", chain(1, 2))
    assert index.match(chain(1, 2)) == {}
    assert len(index) == 0


def test_what_a_running_request_needs_is_not_evicted() -> None:
    index = index_of("a", capacity=40)
    index.store("a", chain(1, 2))
    index.claim("a", chain(1, 2))
    index.store("a", chain(3, 4))
    index.store("a", chain(5, 6))
    assert index.match(chain(1, 2)) == {"a": 20}
    assert index.match(chain(3, 4)) == {}


def test_a_request_in_flight_pins_the_head_it_shares_and_not_what_others_continued() -> None:
    index = index_of("a", capacity=40)
    index.store("a", chain(1, 2, 3))
    index.claim("a", chain(1, 2))
    index.store("a", chain(7, 8))
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_requests_in_flight_may_exceed_the_capacity_until_they_end() -> None:
    index = index_of("a", capacity=20)
    index.claim("a", chain(1, 2, 3))
    index.store("a", chain(1, 2, 3))
    assert index.match(chain(1, 2, 3)) == {"a": 30}
    assert index.room("a") == 0
    index.release("a", chain(1, 2, 3))
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_a_request_on_its_way_makes_room_for_itself() -> None:
    index = index_of("a", capacity=40)
    index.store("a", chain(1, 2, 3))
    index.claim("a", chain(7, 8))
    assert index.match(chain(1, 2, 3)) == {"a": 20}
    assert index.tokens("a") == 40


def test_a_request_that_ends_leaves_its_prompt_most_recently_used() -> None:
    index = index_of("a", capacity=40)
    index.store("a", chain(1, 2))
    index.claim("a", chain(1, 2))
    index.store("a", chain(3, 4))
    index.release("a", chain(1, 2))
    index.store("a", chain(5, 6))
    assert index.match(chain(1, 2)) == {"a": 20}


def test_only_what_was_held_stays_when_a_request_ends() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2))
    index.claim("a", chain(1, 2, 3))
    assert index.match(chain(1, 2, 3)) == {"a": 30}
    index.release("a", chain(1, 2, 3))
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_a_cleared_cache_keeps_what_is_being_computed() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2, 3))
    index.claim("a", chain(1, 2))
    index.clear("a")
    assert index.held_blocks("a") == 0
    assert index.match(chain(1, 2, 3)) == {"a": 20}
    index.release("a", chain(1, 2))
    assert len(index) == 0


def test_an_answer_takes_room_and_is_the_first_of_its_path_to_go() -> None:
    index = index_of("a", capacity=50)
    index.store("a", chain(1, 2), further_tokens=20)
    assert (index.tokens("a"), index.held_blocks("a")) == (40, 2)
    index.store("a", chain(7, 8))
    assert index.tokens("a") == 50
    assert index.match(chain(1, 2)) == {"a": 20}
    index.store("a", chain(9, 10))
    assert index.match(chain(1, 2)) == {"a": 10}


def test_the_answer_to_the_same_prompt_replaces_the_one_before() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), further_tokens=20)
    index.store("a", chain(1, 2), further_tokens=25)
    assert index.tokens("a") == 45


def test_the_next_turn_absorbs_the_answer_to_the_last() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), further_tokens=20)
    index.store("a", chain(1, 2, 3, 4, 5), further_tokens=7)
    assert index.tokens("a") == 57
    assert index.match(chain(1, 2, 3, 4, 5)) == {"a": 50}


def test_what_the_engine_did_not_find_was_evicted_and_so_was_all_that_is_older() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), at_s=1.0)
    index.store("a", chain(3, 4, 5), at_s=2.0)
    index.store("a", chain(6, 7), at_s=3.0)
    assert index.trim("a", chain(3, 4, 5, 9), cached_tokens=10, before_s=4.0) == 40
    assert index.match(chain(1, 2)) == {}
    assert index.match(chain(3, 4, 5)) == {"a": 10}
    assert index.match(chain(6, 7)) == {"a": 20}


def test_a_count_within_a_block_leaves_the_block() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2, 3), at_s=1.0)
    assert index.trim("a", chain(1, 2, 3), cached_tokens=11, before_s=2.0) == 10
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_what_was_used_again_since_the_request_was_routed_tells_nothing() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), at_s=5.0)
    assert index.trim("a", chain(1, 2), cached_tokens=0, before_s=5.0) == 0
    assert index.match(chain(1, 2)) == {"a": 20}


def test_an_engine_that_found_all_that_was_held_tells_nothing() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), at_s=1.0)
    index.claim("a", chain(1, 2, 3))
    assert index.trim("a", chain(1, 2, 3), cached_tokens=20, before_s=9.0) == 0
    assert index.trim("a", chain(1, 2, 3), cached_tokens=99, before_s=9.0) == 0
    assert index.trim("a", chain(8, 9), cached_tokens=0, before_s=9.0) == 0


def test_a_correction_leaves_claims() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), at_s=1.0)
    index.store("a", chain(5, 6), at_s=2.0)
    index.claim("a", chain(1, 2))
    index.claim("a", chain(5, 6))
    assert index.trim("a", chain(5, 6), cached_tokens=10, before_s=9.0) == 30
    assert (index.held_blocks("a"), index.claimed_blocks("a"), index.tokens("a")) == (1, 4, 40)
    index.release("a", chain(1, 2))
    index.release("a", chain(5, 6))
    assert index.match(chain(1, 2)) == {}
    assert index.match(chain(5, 6)) == {"a": 10}


def test_a_request_that_failed_elsewhere_does_not_make_younger_prompts_look_evicted() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2), at_s=1.0)
    index.claim("a", chain(1, 2))
    index.store("a", chain(5, 6), at_s=7.0)
    index.release("a", chain(1, 2))
    assert index.trim("a", chain(1, 2), cached_tokens=0, before_s=9.0) == 20
    assert index.match(chain(5, 6)) == {"a": 20}


def test_a_clock_that_goes_back_does_not_make_a_prompt_older_than_its_continuation() -> None:
    index = index_of("a")
    index.store("a", chain(1, 2, 3), at_s=9.0)
    index.store("a", chain(1), at_s=2.0)
    assert index.trim("a", chain(1), cached_tokens=0, before_s=5.0) == 0
    assert index.trim("a", chain(1), cached_tokens=0, before_s=10.0) == 30


def test_the_age_of_what_goes_next_is_known() -> None:
    index = index_of("a")
    assert index.oldest_use_s("a") is None
    index.store("a", chain(1), at_s=3.0)
    index.store("a", chain(2), at_s=4.0)
    assert index.oldest_use_s("a") == 3.0
    index.claim("a", chain(1))
    assert index.oldest_use_s("a") == 4.0
    index.claim("a", chain(2))
    assert index.oldest_use_s("a") is None

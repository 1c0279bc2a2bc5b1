"""What the cache index believes, rule by rule. `chain(1, 2)` is two blocks of 10 tokens; equal starts are shared."""

from __future__ import annotations

import pytest

from extproc.fleet.index import CacheIndex
from extproc.prefix import Chain
from tests.unit.say import chain


def index_of(*replicas: str, blocks: int = 100, capacity: int | None = None) -> CacheIndex:
    index = CacheIndex(blocks)
    for replica in replicas:
        index.add(replica)
        index.set_capacity(replica, capacity)
    return index


def test_one_look_up_tells_how_much_every_replica_holds() -> None:
    index = index_of("a", "b", "c")
    index.store("a", chain(1, 2, 3))
    index.store("b", chain(1, 2))
    index.store("c", chain(9))
    assert index.match(chain(1, 2, 3, 4)) == {"a": 30, "b": 20}


def test_prompts_that_part_within_a_run_of_blocks_share_what_is_in_front() -> None:
    index = index_of("a", "b")
    index.store("a", chain(1, 2, 3, 4))
    index.store("b", chain(1, 2, 5))
    assert index.match(chain(1, 2, 3, 9)) == {"a": 30, "b": 20}
    assert index.match(chain(1, 2)) == {"a": 20, "b": 20}
    assert len(index) == 5


def test_only_a_contiguous_prefix_counts() -> None:
    index = index_of("a", capacity=30)
    index.store("a", chain(1, 2))
    index.store("a", chain(7, 8))
    assert index.match(chain(1, 2)) == {"a": 10}
    index.clear("a")
    index.store("a", Chain((2,), (10,), 10))
    assert index.match(chain(1, 2)) == {}


def test_the_tail_of_a_prompt_is_evicted_before_its_head() -> None:
    index = index_of("a", blocks=3)
    index.store("a", chain(1, 2, 3))
    index.store("a", chain(7))
    assert index.match(chain(1, 2, 3)) == {"a": 20}


def test_the_prompt_used_least_recently_is_evicted_first() -> None:
    index = index_of("a", capacity=40)
    index.store("a", chain(1, 2))
    index.store("a", chain(3, 4))
    index.store("a", chain(1, 2))
    index.store("a", chain(5, 6))
    assert index.match(chain(3, 4)) == {}
    assert index.match(chain(1, 2)) == {"a": 20}


def test_using_the_head_of_a_prompt_does_not_refresh_its_tail() -> None:
    index = index_of("a", capacity=50)
    index.store("a", chain(1, 2, 3))
    index.store("a", chain(7, 8))
    index.store("a", chain(1))
    index.store("a", chain(9, 10))
    assert index.match(chain(1, 2, 3)) == {"a": 10}
    assert index.match(chain(7, 8)) == {"a": 20}


def test_a_prompt_that_is_split_by_another_replica_keeps_its_place_in_the_order_of_use() -> None:
    index = index_of("a", "b", capacity=50)
    index.store("a", chain(1, 2, 3))
    index.store("a", chain(7, 8))
    index.store("b", chain(1, 2, 4))
    index.store("a", chain(9, 10))
    assert index.match(chain(1, 2, 3)) == {"a": 10, "b": 20}
    assert index.match(chain(7, 8)) == {"a": 20}


def test_replicas_that_evicted_more_or_less_of_one_run_of_blocks_are_told_apart() -> None:
    index = index_of("a", "b", "c")
    for replica, left in (("a", 30), ("b", 10), ("c", 40)):
        index.store(replica, chain(1, 2, 3, 4))
        index.set_capacity(replica, left)
    assert index.match(chain(1, 2, 3, 4)) == {"a": 30, "b": 10, "c": 40}
    assert index.match(chain(1, 2, 9)) == {"a": 20, "b": 10, "c": 20}


def test_the_hard_bound_holds_however_large_the_engine_says_it_is() -> None:
    index = index_of("a", blocks=5, capacity=1_000_000)
    for start in range(0, 100, 4):
        index.store("a", chain(*range(start, start + 4)))
        assert index.held_blocks("a") <= 5
    assert len(index) == 5


def test_an_image_is_one_block_and_weighs_all_its_tokens() -> None:
    index = index_of("a", capacity=1400)
    seen = Chain((1, 2, 3), (10, 1369, 10), 1389)
    index.store("a", seen)
    assert index.match(seen) == {"a": 1389}
    assert index.room("a") == 11
    index.store("a", chain(7, 8))
    assert index.match(seen) == {"a": 1379}
    index.store("a", chain(9))
    assert index.match(seen) == {"a": 10}
    assert index.tokens("a") == 40


def test_a_capacity_that_shrinks_evicts_at_once_and_one_that_grows_makes_room() -> None:
    index = index_of("a", capacity=100)
    index.store("a", chain(1, 2, 3, 4))
    index.set_capacity("a", 25)
    assert index.match(chain(1, 2, 3, 4)) == {"a": 20}
    assert index.room("a") == 5
    index.set_capacity("a", 60)
    index.store("a", chain(7, 8, 9, 10))
    assert index.match(chain(1, 2)) == {"a": 20}
    index.set_capacity("a", None)
    assert index.room("a") is None


def test_an_index_or_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CacheIndex(0)
    with pytest.raises(ValueError, match="positive"):
        CacheIndex(1).set_capacity("nobody", 0)


def test_a_replica_that_left_frees_its_place_for_another() -> None:
    index = index_of("a")
    index.store("a", chain(1))
    index.claim("a", chain(1, 2))
    index.remove("a")
    index.add("b")
    assert index.match(chain(1)) == {}
    assert len(index) == 0


def test_what_is_told_of_an_unknown_replica_changes_nothing() -> None:
    index = index_of("a")
    index.store("x", chain(1))
    index.claim("x", chain(1))
    index.release("x", chain(1))
    index.clear("x")
    index.remove("x")
    index.set_capacity("x", 10)
    assert index.trim("x", chain(1), 0, 1.0) == index.tokens("x") == index.held_blocks("x") == 0
    assert index.room("x") is index.oldest_use_s("x") is None
    assert len(index) == 0


def test_a_prompt_of_no_whole_block_can_be_told_of_and_matches_nothing() -> None:
    index = index_of("a", capacity=100)
    index.claim("a", chain())
    index.store("a", chain(), 1.0, further_tokens=30)
    index.release("a", chain())
    assert index.match(chain()) == {}
    assert index.tokens("a") == 30


def test_more_replicas_than_a_machine_word_has_bits() -> None:
    replicas = [f"r{number}" for number in range(200)]
    index = index_of(*replicas)
    for replica in replicas:
        index.store(replica, chain(1, 2))
    assert index.match(chain(1, 2)) == dict.fromkeys(replicas, 20)


def test_a_conversation_stored_turn_by_turn_becomes_one_run_of_blocks() -> None:
    index = index_of("a", blocks=1000)
    for turn in range(1, 200):
        index.claim("a", chain(*range(turn)))
        index.store("a", chain(*range(turn)))
        index.release("a", chain(*range(turn)))
    (node,) = index._tree.root.children.values()
    assert len(node) == 199
    assert not node.children


def test_a_prompt_that_collides_with_another_leaks_no_claim() -> None:
    index = index_of("a")
    one, other = Chain((1, 2, 3), (10,) * 3, 30), Chain((1, 9, 3), (10,) * 3, 30)
    index.claim("a", one)
    index.claim("a", other)
    index.store("a", Chain((1, 9), (10,) * 2, 20))
    index.release("a", other)
    index.release("a", one)
    assert index.claimed_blocks("a") == 0
    index.remove("a")
    assert len(index) == 0

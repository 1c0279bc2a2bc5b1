"""What engines say they hold, and what a prompt finds of it."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from extproc.fleet.blocks import ReportedBlocks
from extproc.fleet.events import CacheCleared
from extproc.fleet.kv_events import GPU, HOST, BlockHash, BlocksRemoved, BlocksStored, FeedReported
from extproc.fleet.lmcache_ids import lmcache_prompt
from extproc.prefix.exact import ExactPrompt, MediaRun
from extproc.prefix.media_runs import MediaRuns

IMAGE = 9_999


@pytest.fixture
def runs() -> MediaRuns:
    return MediaRuns()


@pytest.fixture
def blocks(runs: MediaRuns) -> ReportedBlocks:
    return ReportedBlocks(runs)


def ids(text: str) -> array[int]:
    """One token a letter; a capital is an image's placeholder."""
    return array("I", (IMAGE if letter.isupper() else ord(letter) for letter in text))


def prompt(text: str, *, lora: str = "", cache_salt: str = "", complete: bool = True) -> ExactPrompt:
    """A run of one capital is an image of that name."""
    media = [
        MediaRun(text.index(name), text.count(name), name)
        for name in sorted(set(text), key=text.index)
        if name.isupper()
    ]
    return ExactPrompt(ids(text), tuple(media), lora, cache_salt, complete)


def stored(
    text: str, hashes: list[Any], parent: BlockHash | None = None, replica: str = "a", size: int = 2, **fields: Any
) -> BlocksStored:
    """Blocks of a text, as engines report them; without `extra_keys` as if they had none to report."""
    fields = {"medium": GPU, "extra_keys": (None,) * len(hashes)} | fields
    return BlocksStored(
        0.0, replica, block_size=size, hashes=tuple(hashes), parent=parent, token_ids=ids(text), **fields
    )


def removed(*hashes: BlockHash, replica: str = "a", medium: str = GPU, group: int | None = None) -> BlocksRemoved:
    return BlocksRemoved(0.0, replica, medium, hashes, group)


def found(blocks: ReportedBlocks, text: str, **fields: Any) -> dict[str, int]:
    return dict(blocks.look_up(prompt(text, **fields)).tokens)


def behind(blocks: ReportedBlocks, text: str, **fields: Any) -> dict[str, int]:
    return dict(blocks.look_up(prompt(text, **fields)).behind)


class TestMatching:
    def test_one_walk_finds_every_replicas_share(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcdef", [1, 2, 3], replica="a"))
        blocks.apply(stored("abcd", [71, 72], replica="b"))
        blocks.apply(stored("xxcd", [81, 82], replica="c"))
        assert found(blocks, "abcdefgh") == {"a": 6, "b": 4}

    def test_the_last_token_is_always_computed(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2]))
        assert found(blocks, "abcd") == {"a": 2}
        assert found(blocks, "abcde") == {"a": 4}
        assert found(blocks, "ab") == {}

    def test_of_a_prompt_that_goes_on_all_known_blocks_count(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2]))
        assert found(blocks, "abcd", complete=False) == {"a": 4}

    def test_a_hole_ends_the_match(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcdef", [1, 2, 3]))
        blocks.apply(removed(2))
        assert found(blocks, "abcdefg") == {"a": 2}

    def test_each_engine_may_have_its_own_block_size(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcdef", [1, 2, 3], replica="a"))
        blocks.apply(stored("abcdef", [1, 2], replica="b", size=3))
        assert found(blocks, "abcdefg") == {"a": 6, "b": 6}

    def test_adapters_and_salts_share_nothing(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2], extra_keys=(["tenant"], None)))
        blocks.apply(stored("abcd", [3, 4], replica="b", extra_keys=(["adapter"], ["adapter"]), lora_name="adapter"))
        assert found(blocks, "abcde") == {}
        assert found(blocks, "abcde", cache_salt="tenant") == {"a": 4}
        assert found(blocks, "abcde", lora="adapter") == {"b": 4}

    def test_an_engine_that_sends_no_extra_keys_still_names_the_adapter(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2], extra_keys=None, lora_name="adapter"))
        assert found(blocks, "abcde") == {}
        assert found(blocks, "abcde", lora="adapter") == {"a": 4}

    def test_images_are_told_apart_by_identifier(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("aXXXbc", [1, 2, 3], extra_keys=([["X", 1]], [["X", -1]], None)))
        assert found(blocks, "aXXXbcd") == {"a": 6}
        assert found(blocks, "aYYYbcd") == {}


class TestCopies:
    def test_a_block_stored_twice_is_held_until_both_copies_are_gone(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("ab", [1]))
        blocks.apply(stored("ab", [1]))
        blocks.apply(removed(1))
        assert found(blocks, "abc") == {"a": 2}
        blocks.apply(removed(1))
        assert found(blocks, "abc") == {}

    def test_two_names_for_one_content_are_two_copies(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("ab", [1]))
        blocks.apply(stored("ab", [b"1" * 32]))
        blocks.apply(removed(1))
        assert found(blocks, "abc") == {"a": 2}
        blocks.apply(removed(b"1" * 32))
        assert found(blocks, "abc") == {}

    def test_what_was_never_stored_is_removed_without_harm(self, blocks: ReportedBlocks) -> None:
        blocks.apply(removed(5))
        blocks.apply(stored("ab", [1]))
        blocks.apply(removed(5))
        assert found(blocks, "abc") == {"a": 2}


class TestWhatCannotBePlaced:
    def test_a_block_behind_an_unknown_parent_is_counted_and_matches_nothing(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("cdef", [2, 3], parent=1))
        blocks.apply(stored("gh", [4], parent=3))
        assert (blocks.held_blocks("a"), blocks.unplaced_blocks("a")) == (0, 3)
        assert blocks.faults == {"parent unknown": 3}
        assert found(blocks, "cdefgh") == {}
        blocks.apply(removed(2, 3, 4))
        assert blocks.unplaced_blocks("a") == 0

    def test_it_is_placed_when_it_is_stored_again_behind_a_known_one(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("cd", [2], parent=1))
        blocks.apply(stored("ab", [1]))
        blocks.apply(stored("cd", [2], parent=1))
        assert found(blocks, "abcde") == {"a": 4}
        blocks.apply(removed(2))
        assert found(blocks, "abcde") == {"a": 4}
        blocks.apply(removed(2))
        assert found(blocks, "abcde") == {"a": 2}

    def test_a_parent_that_was_removed_a_moment_ago_still_places_its_children(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("ab", [1]))
        blocks.apply(removed(1))
        blocks.apply(stored("cd", [2], parent=1))
        blocks.apply(stored("ab", [1]))
        assert found(blocks, "abcde") == {"a": 4}

    @pytest.mark.parametrize("text", ["abc", "abcde", ""])
    def test_tokens_that_do_not_add_up_place_nothing(self, blocks: ReportedBlocks, text: str) -> None:
        blocks.apply(stored(text, [1, 2]))
        assert found(blocks, "abcdef") == {}
        assert blocks.faults["blocks and tokens do not add up"] == 1

    def test_beyond_the_bound_nothing_is_remembered(self, runs: MediaRuns) -> None:
        blocks = ReportedBlocks(runs, max_blocks_per_replica=2)
        blocks.apply(stored("abcdef", [1, 2, 3]))
        assert found(blocks, "abcdefg") == {"a": 4}
        assert blocks.faults == {"beyond max_blocks_per_replica": 1}
        blocks.apply(removed(3))
        blocks.apply(removed(2))
        blocks.apply(stored("xy", [9]))
        assert found(blocks, "xyz") == {"a": 2}


class TestForgetting:
    def test_a_cleared_cache_leaves_the_host_tier(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2]))
        blocks.apply(stored("abcd", [5], size=4, medium=HOST, extra_keys=None))
        blocks.apply(CacheCleared(0.0, "a"))
        assert (found(blocks, "abcde"), behind(blocks, "abcde")) == ({}, {"a": 4})

    def test_a_feed_that_begins_anew_leaves_nothing(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2]))
        blocks.apply(stored("abcd", [5], size=4, medium=HOST, extra_keys=None))
        blocks.apply(FeedReported(0.0, "a", "partial", anew=True))
        assert (found(blocks, "abcde"), behind(blocks, "abcde")) == ({}, {})
        assert blocks.state("a") == "partial"

    def test_a_feed_that_is_down_keeps_what_it_said(self, blocks: ReportedBlocks) -> None:
        blocks.apply(FeedReported(0.0, "a", "whole"))
        blocks.apply(stored("abcd", [1, 2]))
        blocks.apply(FeedReported(0.0, "a", "down"))
        assert (found(blocks, "abcde"), blocks.state("a")) == ({"a": 4}, "down")

    def test_a_replica_that_is_gone_leaves_its_bit_to_the_next(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("ab", [1], replica="a"))
        blocks.apply(stored("abcd", [1, 2], replica="b"))
        blocks.claim("a", prompt("xyz"))
        blocks.forget("a")
        blocks.apply(stored("xx", [1], replica="c"))
        assert found(blocks, "abcde") == {"b": 4}
        assert found(blocks, "xyz") == {}

    def test_another_block_size_is_another_engine(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2]))
        blocks.apply(stored("abcd", [1], size=4))
        assert (blocks.held_blocks("a"), blocks.block_size("a")) == (1, 4)
        assert found(blocks, "abc") == {}

    def test_a_part_of_a_block_is_passed_over(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1], size=4))
        blocks.apply(stored("ef", [2], 1, size=2))
        blocks.apply(stored("efgh", [3], 1, size=4))
        blocks.apply(removed(2))
        assert found(blocks, "abcdefghi") == {"a": 8}
        assert blocks.faults == {"part of a block": 1}


class TestClaims:
    def test_what_a_request_is_computing_counts_as_held(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("zz", [1]))
        first, second = blocks.claim("a", prompt("abcde")), blocks.claim("a", prompt("abcxy"))
        assert found(blocks, "abcde") == {"a": 4}
        blocks.release(first)
        assert found(blocks, "abcde") == {"a": 2}
        blocks.release(second)
        assert found(blocks, "abcde") == {}

    def test_releasing_leaves_what_the_engine_stored(self, blocks: ReportedBlocks) -> None:
        blocks.set_block_size("a", 2)
        claim = blocks.claim("a", prompt("abcde"))
        blocks.apply(stored("ab", [1]))
        blocks.release(claim)
        assert found(blocks, "abcde") == {"a": 2}

    def test_an_answer_may_overtake_the_report(self, blocks: ReportedBlocks) -> None:
        blocks.set_block_size("a", 2)
        blocks.served(blocks.claim("a", prompt("abcde")), 0.0)
        assert found(blocks, "abcde") == {"a": 4}
        blocks.apply(stored("abcd", [1, 2]))
        blocks.apply(removed(2))
        assert found(blocks, "abcde") == {"a": 2}

    def test_a_report_that_never_comes_is_not_waited_for(self, blocks: ReportedBlocks) -> None:
        blocks.set_block_size("a", 2)
        blocks.served(blocks.claim("a", prompt("abcde")), 0.0)
        blocks.served(blocks.claim("a", prompt("xyz")), 5.0)
        assert found(blocks, "abcde") == {}
        blocks.apply(CacheCleared(5.0, "a"))
        assert found(blocks, "xyz") == {}

    def test_without_a_block_size_there_is_nothing_to_claim(self, blocks: ReportedBlocks) -> None:
        blocks.release(blocks.claim("a", prompt("abcde")))
        assert found(blocks, "abcde") == {}

    def test_claims_outlive_a_cleared_cache_and_another_block_size(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("zz", [1]))
        claim = blocks.claim("a", prompt("abcde"))
        blocks.apply(CacheCleared(0.0, "a"))
        assert found(blocks, "abcde") == {"a": 4}
        blocks.apply(stored("zzz", [1], size=3))
        blocks.release(claim)
        assert found(blocks, "abcde") == {}

    def test_a_claim_on_one_that_is_gone_does_not_touch_its_successor(self, blocks: ReportedBlocks) -> None:
        blocks.set_block_size("a", 2)
        old = blocks.claim("a", prompt("abcde"))
        blocks.forget("a")
        blocks.set_block_size("a", 2)
        blocks.claim("a", prompt("abcde"))
        blocks.release(old)
        assert found(blocks, "abcde") == {"a": 4}


class TestHostTier:
    def host(self, text: str, hashes: list[Any], **fields: Any) -> BlocksStored:
        defaults: dict[str, Any] = {"size": 4, "medium": HOST, "extra_keys": None}
        return stored(text, hashes, **(defaults | fields))

    def test_what_one_stores_is_there_for_all_that_share_the_tier(self, blocks: ReportedBlocks) -> None:
        for name, domain in (("a", "node"), ("b", "node"), ("c", "")):
            blocks.set_domain(name, domain)
        blocks.apply(self.host("abcdefgh", [1, 2], replica="a"))
        assert behind(blocks, "abcdefghi") == {"a": 8, "b": 8}
        assert found(blocks, "abcdefghi") == {}

    def test_it_is_there_until_nobody_says_so(self, blocks: ReportedBlocks) -> None:
        for name in "ab":
            blocks.set_domain(name, "node")
            blocks.apply(self.host("abcdefgh", [1, 2], replica=name))
        blocks.apply(removed(2, replica="a", medium=HOST))
        assert behind(blocks, "abcdefghi") == {"a": 8, "b": 8}
        blocks.apply(removed(2, replica="b", medium=HOST))
        assert behind(blocks, "abcdefghi") == {"a": 4, "b": 4}

    def test_a_whole_prompt_in_the_tier_leaves_the_last_token(self, blocks: ReportedBlocks) -> None:
        blocks.apply(self.host("abcdefgh", [1, 2]))
        assert behind(blocks, "abcdefgh") == {"a": 7}

    def test_images_are_found_by_the_ids_that_lmcache_gives_them(self, blocks: ReportedBlocks) -> None:
        content = lmcache_prompt(prompt("abXXXXXXgh")).ids
        event = self.host("abXXXXXX", [1, 2])
        blocks.apply(BlocksStored(0.0, "a", HOST, 4, event.hashes, None, content[:8], None))
        assert behind(blocks, "abXXXXXXgh") == {"a": 8}
        assert behind(blocks, "abYYYYYYgh") == {}

    def test_what_was_stored_before_the_first_salt_is_found_after_it(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcdefgh", [1, 2, 3, 4]))
        blocks.apply(self.host("abcdefgh", [10, 11]))
        blocks.apply(stored("abxy", [5, 6], extra_keys=(["tenant"], None)))
        assert behind(blocks, "abcdefghi") == {"a": 8}
        assert behind(blocks, "abcdefghi", cache_salt="tenant") == {}

    def test_salts_are_told_apart_by_what_the_engine_stored_itself(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2], extra_keys=(["tenant"], None)))
        blocks.apply(self.host("abcdefgh", [8, 9]))
        assert behind(blocks, "abcdefghi") == {}
        assert behind(blocks, "abcdefghi", cache_salt="tenant") == {"a": 8}  # nobody else begins like this
        blocks.apply(stored("abcd", [3, 4]))
        assert behind(blocks, "abcdefghi") == {"a": 4}
        blocks.apply(stored("efgh", [5, 6], parent=4))
        assert behind(blocks, "abcdefghi") == {"a": 8}
        assert behind(blocks, "abcdefghi", cache_salt="other") == {}

    def test_a_tier_of_the_engines_own_names_its_extra_keys(self, blocks: ReportedBlocks) -> None:
        blocks.apply(self.host("aXXXbcde", [1, 2], extra_keys=([["X", 1]], None)))
        assert behind(blocks, "aXXXbcdef") == {"a": 8}
        assert behind(blocks, "aYYYbcdef") == {}

    def test_a_medium_that_nobody_knows_is_counted(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2], medium="PAPER"))
        blocks.apply(removed(1, medium="PAPER"))
        assert found(blocks, "abcde") == behind(blocks, "abcde") == {}
        assert blocks.faults == {"medium unknown": 1}


class TestGroups:
    def test_of_a_hybrid_model_the_group_that_attends_to_all_counts(self, blocks: ReportedBlocks) -> None:
        blocks.apply(stored("abcd", [1, 2], group=0, kind="sliding_window"))
        blocks.apply(stored("abcd", [1, 2], group=1, kind="full_attention"))
        blocks.apply(removed(2, group=0))
        assert found(blocks, "abcde") == {"a": 4}
        blocks.apply(removed(2, group=1))
        assert found(blocks, "abcde") == {"a": 2}


class TestImageRuns:
    def test_an_image_is_learned_once_its_end_is_seen(self, blocks: ReportedBlocks, runs: MediaRuns) -> None:
        blocks.apply(stored("aXXXXb", [1, 2, 3], extra_keys=([["X", 1]], [["X", -1]], [["X", -3]])))
        assert runs.length("X", (0, 0), "") == array("I", [IMAGE] * 4)

    def test_an_image_is_learned_across_events(self, blocks: ReportedBlocks, runs: MediaRuns) -> None:
        blocks.apply(stored("aXXX", [1, 2], extra_keys=([["X", 1]], [["X", -1]])))
        assert runs.length("X", (0, 0), "") is None
        blocks.apply(stored("XXbc", [3, 4], parent=2, extra_keys=([["X", -3]], None)))
        assert runs.length("X", (0, 0), "") == array("I", [IMAGE] * 5)

    def test_an_image_that_ends_with_a_block_is_learned_from_the_next(
        self, blocks: ReportedBlocks, runs: MediaRuns
    ) -> None:
        blocks.apply(stored("aXXXbc", [1, 2, 3], extra_keys=([["X", 1]], [["X", -1]], None)))
        assert runs.length("X", (0, 0), "") == array("I", [IMAGE] * 3)

    def test_images_side_by_side_are_told_apart(self, blocks: ReportedBlocks, runs: MediaRuns) -> None:
        extras = ([["X", 1]], [["X", -1], ["Y", 1]], [["Y", -1]])
        blocks.apply(stored("aXXYYb", [1, 2, 3], extra_keys=extras))
        assert runs.length("X", (0, 0), "") == array("I", [IMAGE] * 2)
        assert runs.length("Y", (0, 0), "") == array("I", [IMAGE] * 2)

    def test_an_image_twice_in_a_row_is_one_run_twice(self, blocks: ReportedBlocks, runs: MediaRuns) -> None:
        extras = ([["X", 0]], [["X", 0]], None)
        blocks.apply(stored("XXXXab", [1, 2, 3], extra_keys=extras))
        assert runs.length("X", (0, 0), "") == array("I", [IMAGE] * 2)

    def test_runs_of_mixed_ids_are_not_guessed_at(self, blocks: ReportedBlocks, runs: MediaRuns) -> None:
        blocks.apply(stored("aXpXqb", [1, 2, 3], extra_keys=([["X", 1]], [["X", -1]], [["X", -3]])))
        assert runs.length("X", (0, 0), "") is None

    @pytest.mark.parametrize("offset", [-(1 << 70), 1 << 70, 7, "1", None])
    def test_an_offset_that_makes_no_sense_teaches_nothing(
        self, blocks: ReportedBlocks, runs: MediaRuns, offset: Any
    ) -> None:
        blocks.apply(stored("aXXb", [1, 2], extra_keys=([["X", offset]], None)))
        assert runs.length("X", (0, 0), "") is None

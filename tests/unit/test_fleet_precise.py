"""What the fleet makes of engines' reports and its own belief, for prompts of which all or a part is known."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from extproc.config.topology import HostTier
from extproc.fleet.events import HostTierReported, RemoteTierReported, ReplicaUp
from extproc.fleet.index import CacheIndex
from extproc.fleet.kv_events import GPU, HOST, BlocksStored, FeedReported, FeedState
from extproc.fleet.state import Fleet
from extproc.prefix import Chain
from extproc.prefix.exact import ExactPrompt, Inexact
from extproc.routing import Option, assess

PROMPT = ExactPrompt(array("I", range(100, 109)))
BELIEVED = Chain((1, 2, 3), (2, 2, 2), 9)


def fleet(state: FeedState = "whole", stored_tokens: int = 4) -> Fleet:
    """One replica, believed to hold six tokens of the prompt, that has reported some in blocks of two."""
    built = Fleet(CacheIndex(1000))
    built.apply(ReplicaUp(0.0, "a", proven=True))
    built.index.store("a", BELIEVED, 0.0)
    built.apply(stored(GPU, stored_tokens, 2))
    built.apply(FeedReported(0.0, "a", state))
    return built


def stored(medium: str, tokens: int, size: int) -> BlocksStored:
    hashes = tuple(range(tokens // size))
    return BlocksStored(0.0, "a", medium, size, hashes, None, PROMPT.ids[:tokens], (None,) * len(hashes))


def cut(tokens: int, why: Inexact) -> ExactPrompt:
    return replace(PROMPT, ids=PROMPT.ids[:tokens], complete=False, cut_by=why)


@pytest.mark.parametrize(("state", "tokens"), [("whole", 4), ("partial", 6), ("down", 6)])
def test_belief_gives_way_to_what_is_known_of_the_whole_cache(state: FeedState, tokens: int) -> None:
    assert fleet(state).look_up(BELIEVED, PROMPT).tokens == {"a": tokens}


def test_behind_what_is_known_of_a_prompt_belief_goes_on() -> None:
    assert fleet().look_up(BELIEVED, cut(5, Inexact.UNKNOWN_RUN)).tokens == {"a": 6}


def test_belief_does_not_reach_over_what_is_known_to_be_missing() -> None:
    assert fleet(stored_tokens=2).look_up(BELIEVED, cut(5, Inexact.UNKNOWN_RUN)).tokens == {"a": 2}


def test_an_image_never_seen_ends_every_match() -> None:
    assert fleet().look_up(BELIEVED, cut(5, Inexact.NEW_IMAGE)).tokens == {"a": 4}


def test_what_is_behind_a_replica_is_known_by_the_blocks_of_its_tier() -> None:
    built = fleet()
    built.apply(HostTierReported(0.0, "a", HostTier(1000)))
    built.index.store("a", BELIEVED, 1.0)
    assert built.look_up(BELIEVED, PROMPT).behind == {"host": {"a": 6}}, "nothing is reported of it"
    built.apply(stored(HOST, 4, 4))
    assert built.look_up(BELIEVED, PROMPT).behind == {"host": {"a": 4}}
    assert built.look_up(BELIEVED, cut(8, Inexact.UNKNOWN_RUN)).behind == {"host": {"a": 4}}, (
        "the next block would be known"
    )
    assert built.look_up(BELIEVED, cut(7, Inexact.UNKNOWN_RUN)).behind == {"host": {"a": 6}}


def test_of_the_remote_tier_no_engine_tells_so_what_is_believed_of_it_stays() -> None:
    built = fleet(stored_tokens=2)
    built.apply(HostTierReported(0.0, "a", HostTier(1000)))
    built.apply(RemoteTierReported(0.0, "a", 1000))
    built.index.store("a", BELIEVED, 1.0)
    built.apply(stored(HOST, 4, 4))
    assert built.look_up(BELIEVED, PROMPT).behind == {"host": {"a": 4}, "remote": {"a": 6}}
    (found,) = assess(built, BELIEVED, [Option("a", "pool")], 2.0, prompt=PROMPT)
    assert (found.matched_tokens, [tier.tokens for tier in found.behind]) == (2, [2, 2])


def test_what_is_known_to_be_nearer_is_not_looked_for_in_the_remote_tier() -> None:
    built = fleet(stored_tokens=8)
    built.apply(RemoteTierReported(0.0, "a", 1000))
    built.index.store("a", BELIEVED, 1.0)
    (found,) = assess(built, BELIEVED, [Option("a", "pool")], 2.0, prompt=PROMPT)
    assert (found.matched_tokens, found.restorable_tokens) == (8, 0)

"""What Redis answers about vectors, in the shapes of both protocols."""

from __future__ import annotations

import struct

import pytest

from extproc.caching.semantic.bound import Observation
from extproc.caching.semantic.redisearch import is_filling, near_of

NAME = b"kvgate:semantic:v2:entry:0_0_" + b"5c" * 32 + b":" + b"ab" * 32
LEARNED = struct.pack("<fB", 0.5, 1)
FLAT = [1, NAME, [b"distance", b"0.25", b"question", b"Why?", b"learned", LEARNED]]
MAP = {
    b"attributes": [],
    b"total_results": 1,
    b"results": [
        {
            b"id": NAME,
            b"extra_attributes": {b"distance": b"0.25", b"question": b"Why?", b"learned": LEARNED},
            b"values": [],
        }
    ],
}


@pytest.mark.parametrize("reply", [FLAT, MAP], ids=["RESP2", "RESP3"])
def test_both_protocols_tell_the_same(reply: object) -> None:
    (near,) = near_of(reply)
    assert (near.entry.key, near.entry.question, near.similarity) == (b"\xab" * 32, "Why?", 0.75)
    assert near.entry.observations == (Observation(0.5, True),)


@pytest.mark.parametrize(
    "reply",
    [
        [0],
        [1, NAME, None],  # it expired meanwhile
        [1, NAME, [b"distance", b"0.25"]],
        [1, b"other", [b"distance", b"0.25", b"question", b"Why?"]],
        [1, NAME, [b"distance", b"0.25", b"question", b"\xff"]],
        [1, NAME, [b"distance", b"close", b"question", b"Why?"]],
        [1, NAME, [b"distance", b"nan", b"question", b"Why?"]],
        {b"results": [None, {}]},
        {},
        None,
        b"OK",
    ],
)
def test_what_is_no_entry_is_passed_over(reply: object) -> None:
    assert list(near_of(reply)) == []


def test_a_short_list_is_not_an_accident() -> None:
    assert len(list(near_of([*FLAT, NAME]))) == 1


@pytest.mark.parametrize(
    ("described", "filling"),
    [
        ([b"index_name", b"i", b"indexing", 1], True),
        ([b"index_name", b"i", b"indexing", 0], False),
        ({"indexing": 1.0}, True),
        ({b"indexing": b"0"}, False),
        ([b"index_name", b"i"], False),
    ],
)
def test_an_index_says_whether_it_is_full(described: object, filling: bool) -> None:
    assert is_filling(described) is filling

"""Batches as engines of several ages write them."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.events import CacheCleared
from extproc.fleet.feeds.kv_events.wire import WireEvent, read
from extproc.fleet.kv_events import BlocksRemoved, BlocksStored

STORED: dict[str, Any] = {
    "type": "BlockStored",
    "block_hashes": [11, 12],
    "parent_block_hash": None,
    "token_ids": [1, 2, 3, 4],
    "block_size": 2,
    "lora_id": None,
    "medium": "GPU",
    "lora_name": None,
    "extra_keys": [["tenant"], None],
    "group_idx": 0,
    "kv_cache_spec_kind": "full_attention",
}


def events(*wire: Any, rank: int | None = 0) -> list[WireEvent | None]:
    batch = read(msgspec.msgpack.encode([1.5, list(wire), rank]))
    return list(batch.events("a", 7.0))


def test_a_stored_block_comes_with_all_that_is_hashed() -> None:
    stored = BlocksStored(
        7.0, "a", "GPU", 2, (11, 12), None, array("I", [1, 2, 3, 4]), (["tenant"], None), None, 0, "full_attention"
    )
    assert events(STORED) == [stored]


def test_older_engines_send_arrays_and_no_medium() -> None:
    found = events(["BlockStored", [11], 10, [1, 2], 2, None], ["BlockRemoved", [11]], ["AllBlocksCleared"], rank=None)
    assert found == [
        BlocksStored(7.0, "a", "GPU", 2, (11,), 10, array("I", [1, 2])),
        BlocksRemoved(7.0, "a", "GPU", (11,)),
        CacheCleared(7.0, "a"),
    ]


def test_hashes_may_be_whole() -> None:
    (stored,) = events(STORED | {"block_hashes": [b"x" * 32, b"y" * 32], "parent_block_hash": b"z" * 32})
    assert isinstance(stored, BlocksStored)
    assert (stored.hashes, stored.parent) == ((b"x" * 32, b"y" * 32), b"z" * 32)


def test_fields_of_newer_engines_are_passed_over() -> None:
    (stored,) = events(STORED | {"locality": "LOCAL", "session_id": "s", "not_yet_invented": [1]})
    assert isinstance(stored, BlocksStored)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"type": "BlockExploded"},
        STORED | {"block_size": 0},
        STORED | {"block_size": 1 << 40},
        STORED | {"token_ids": [-1, 2, 3, 4]},
        STORED | {"token_ids": [1 << 40, 2, 3, 4]},
        STORED | {"block_hashes": "all"},
        STORED | {"extra_keys": 7},
        ["BlockStored"],
        [],
        None,
        7,
        "BlockStored",
    ],
)
def test_an_event_that_makes_no_sense_costs_only_itself(nonsense: Any) -> None:
    assert events(nonsense, {"type": "AllBlocksCleared"}) == [None, CacheCleared(7.0, "a")]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1.0]), msgspec.msgpack.encode({})])
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(payload)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8) | st.binary(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
).map(lambda event: msgspec.msgpack.encode([0.0, [event, STORED], 0])))  # fmt: skip
def test_no_bytes_break_the_reader(payload: bytes) -> None:
    try:
        batch = read(payload)
    except ValueError:
        return
    assert len(list(batch.events("a", 0.0))) == len(batch.raw)

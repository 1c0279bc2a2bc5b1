"""The bytes in which an answer is kept."""

from __future__ import annotations

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.api.requests import Endpoint
from extproc.caching.answer import Answer, NotAnAnswer, Usage, pack, read_usage, unpack

counts = st.integers(0, 1 << 40)
answers = st.builds(
    Answer,
    st.sampled_from(Endpoint),
    st.one_of(st.binary(max_size=200), st.binary(min_size=1, max_size=9).map(lambda piece: piece * 2000)),
    st.floats(0, 1e12),
    st.none() | st.builds(Usage, counts, counts, counts),
)


@given(answers)
def test_an_answer_survives_being_kept(answer: Answer) -> None:
    assert unpack(pack(answer)) == answer


@given(answers, st.data())
def test_bytes_that_were_cut_or_changed_are_no_answer(answer: Answer, data: st.DataObject) -> None:
    packed = pack(answer)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(NotAnAnswer):
        unpack(packed[:cut])
    place = data.draw(st.integers(0, len(packed) - 1))
    changed = bytearray(packed)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotAnAnswer):
        unpack(bytes(changed))


@given(st.binary(max_size=300))
def test_garbage_is_no_answer(garbage: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        unpack(garbage)


def test_large_answers_are_compressed_and_small_ones_are_not() -> None:
    body = orjson.dumps({"content": "The quick brown fox. " * 1000})
    assert len(pack(Answer(Endpoint.MESSAGES, body, 0.0))) < len(body) / 5
    assert body[:4000] in pack(Answer(Endpoint.MESSAGES, body[:4000], 0.0))


def test_what_decompresses_to_more_than_it_says_is_no_answer() -> None:
    sealed = bytearray(pack(Answer(Endpoint.MESSAGES, b"\0" * 10_000_000, 0.0))[5:])
    sealed[2:6] = (100).to_bytes(4, "big")
    with pytest.raises(NotAnAnswer):
        unpack(b"\x01" + zlib.crc32(sealed).to_bytes(4, "big") + sealed)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 2, 4)),
        ({"prompt_tokens": 5, "total_tokens": 5, "prompt_tokens_details": None}, Usage(5, 0, 0)),
        ({"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}, Usage(5, 2, 4)),
        ({"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 4}, Usage(5, 2, 4)),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": 1 << 63}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_is_read_in_the_words_of_each_dialect(usage: object, expected: Usage | None) -> None:
    assert read_usage({"usage": usage}) == expected

"""Setting a field leaves every other byte as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.api.rewrite import set_field


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' { "x" : 1 , "model"\n:\t"a" } ', b' { "x" : 1 , "model"\n:\t"new" } '),
        (b'{"model":"a","x":{"model":"b"}}', b'{"model":"new","x":{"model":"b"}}'),
        (b'{"x":[{"model":"b"}],"model":"a"}', b'{"x":[{"model":"b"}],"model":"new"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"new","model":"new"}'),
        (b'{"model":[{"]":"}"}],"x":1,"model":"b"}', b'{"model":"new","x":1,"model":"new"}'),
        (b'{"model":null ,"model":"b"}', b'{"model":"new" ,"model":"new"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"new"}'),
        (b'{"\\u006D\\u006f\\u0064\\u0065\\u006C":"a"}', b'{"\\u006D\\u006f\\u0064\\u0065\\u006C":"new"}'),
        (b'{"\\\\u006dodel":"b","model":"a"}', b'{"\\\\u006dodel":"b","model":"new"}'),
        (b'{"x":"\\"model\\":\\"b\\"","model":"a\\"b"}', b'{"x":"\\"model\\":\\"b\\"","model":"new"}'),
        (b'{"x":"model","model":"model"}', b'{"x":"model","model":"new"}'),
        (b'{"x":"\\\\","model":"a\\\\"}', b'{"x":"\\\\","model":"new"}'),
    ],
)
def test_only_the_value_of_the_top_level_key_changes(body: bytes, expected: bytes) -> None:
    assert set_field(body, "model", "new") == set_field(body, "model", "new", present=True) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', b'{"stream_options":{"include_usage":true},"model":"a"}'),
        (b' {"x":{"stream_options":1}}', b' {"stream_options":{"include_usage":true},"x":{"stream_options":1}}'),
        (b'{"stream_options":{"include_usage":false}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":null,"x":"{"}', b'{"stream_options":{"include_usage":true},"x":"{"}'),
        (b'{"x":"\\"stream_options\\":1"}', b'{"stream_options":{"include_usage":true},"x":"\\"stream_options\\":1"}'),
    ],
)
def test_a_field_that_is_missing_is_added(body: bytes, expected: bytes) -> None:
    assert set_field(body, "stream_options", {"include_usage": True}) == expected


def test_the_new_name_is_escaped() -> None:
    assert set_field(b'{"model":"a"}', "model", 'q"\\\u00e9') == '{"model":"q\\"\\\\\u00e9"}'.encode()


class Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object as it stands in the bytes: in order, with duplicated keys."""


TRICKY = st.text(alphabet='model"\\:{}[] ,\u00e9\n\U0001f600', max_size=12) | st.sampled_from(
    ["model", '"model":"x"', "\\"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TRICKY, inner), max_size=3).map(Pairs),
    max_leaves=10,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[bytes], Pairs]:
    """A body as pieces, the values of its top-level "model" keys at the odd places, and what it says."""
    members = draw(st.lists(st.tuples(TRICKY, VALUES), max_size=5))
    members.insert(draw(st.integers(0, len(members))), ("model", draw(TRICKY)))
    space = st.sampled_from([b"", b" ", b"\n\t"])
    pieces = [draw(space) + b"{"]
    for index, (key, value) in enumerate(members):
        pieces[-1] += (b"," if index else b"") + draw(space) + write(key, draw) + draw(space) + b":" + draw(space)
        if key == "model":
            pieces += [write(value, draw), b""]
        else:
            pieces[-1] += write(value, draw)
        pieces[-1] += draw(space)
    pieces[-1] += b"}" + draw(space)
    return pieces, Pairs(members)


def write(value: Any, draw: st.DrawFn) -> bytes:
    """JSON, with some of the characters of strings escaped though they need not be."""
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(char):04x}" if ord(char) < 0x10000 and draw(st.integers(0, 9)) == 0 else json.dumps(char)[1:-1]
            for char in value
        )
        return f'"{escaped}"'.encode()
    if isinstance(value, Pairs):
        return b"{" + b",".join(write(key, draw) + b":" + write(item, draw) for key, item in value) + b"}"
    if isinstance(value, list):
        return b"[" + b" , ".join(write(item, draw) for item in value) + b"]"
    return json.dumps(value).encode()


@given(documents(), TRICKY)
def test_everything_else_is_byte_for_byte_the_same(document: tuple[list[bytes], Pairs], new: str) -> None:
    pieces, members = document
    result = set_field(b"".join(pieces), "model", new)
    written = json.dumps(new, ensure_ascii=False).encode()
    assert result == b"".join(written if index % 2 else piece for index, piece in enumerate(pieces))
    expected = Pairs((key, new if key == "model" else value) for key, value in members)
    assert json.loads(result, object_pairs_hook=Pairs) == expected

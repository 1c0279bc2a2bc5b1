"""Which requests are the same request."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from blake3 import blake3
from hypothesis import assume, given
from hypothesis import strategies as st

from extproc.api.body import parse
from extproc.api.requests import Endpoint
from extproc.caching.key import NOT_IN_THE_KEY, exact_key
from tests.unit.caching_replies import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, MINIMAL, RESPONSES, Json, ask, look

BASE: dict[Endpoint, Json] = {
    CHAT: {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Add 1 and 2."}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "3"},
        ],
        "temperature": 0,
        "seed": 7,
        "top_p": 0.5,
        "n": 1,
        "max_tokens": 9,
        "stop": ["x"],
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "cache_salt": "s",
        "vllm_xargs": {"a": 1},
        "mm_processor_kwargs": {"num_crops": 4},
        "chat_template_kwargs": {"thinking": False},
        "service_tier": "auto",
    },
    COMPLETIONS: {"prompt": "x", "echo": True, "suffix": "y", "best_of": 1, "logprobs": 1},
    RESPONSES: {"input": "x", "instructions": "y", "text": {"verbosity": "low"}, "metadata": {"a": "b"}, "user": "u"},
    EMBEDDINGS: {"input": ["x", "y"], "dimensions": 4, "encoding_format": "base64"},
    MESSAGES: {"messages": [{"role": "user", "content": "x"}], "system": "y", "max_tokens": 5, "thinking": {"t": "on"}},
}  # fmt: skip
CASES = [(endpoint, name) for endpoint, fields in BASE.items() for name in fields]
PNG = bytes(range(256)) * 5


def key(endpoint: Endpoint, fields: Json, scope: str = "t", model: str = "m") -> bytes:
    return exact_key(parse(endpoint, orjson.dumps({"model": model, **fields})), scope)


def changes(value: Any) -> list[Any]:
    """Every way to change one thing in a value."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1]
        case str():
            return [value + "x", value[:-1]]
        case list():
            inner = [
                [*value[:i], changed, *value[i + 1 :]] for i, item in enumerate(value) for changed in changes(item)
            ]
            return [*inner, [*value, *value[-1:]], value[1:], *([value[::-1]] if value[::-1] != value else [])]
        case dict():
            return [
                *({**value, name: changed} for name, item in value.items() for changed in changes(item)),
                *({n: v for n, v in value.items() if n != name} for name in value),
                {**value, "more": 1},
            ]
    return ["x"]


@pytest.mark.parametrize(("endpoint", "name"), CASES)
def test_any_change_of_a_field_that_matters_is_another_key(endpoint: Endpoint, name: str) -> None:
    fields = BASE[endpoint]
    keys = {key(endpoint, fields)}
    tried = 1
    for changed in changes(fields[name]):
        try:
            keys.add(key(endpoint, {**fields, name: changed}))
        except Exception as refused:  # a body that the gateway does not take has no key
            assert type(refused).__name__ == "BadRequest"
            continue
        tried += 1
    assert len(keys) == tried > 1


@pytest.mark.parametrize("endpoint", Endpoint)
def test_scope_model_and_endpoint_are_in_the_key(endpoint: Endpoint) -> None:
    fields = {**MINIMAL[endpoint]}
    assert len({key(endpoint, fields), key(endpoint, fields, scope="u"), key(endpoint, fields, model="n")}) == 3
    assert len({key(e, {**MINIMAL[MESSAGES], "input": "hi", "prompt": "hi"}) for e in Endpoint}) == len(Endpoint)


def test_scope_and_model_do_not_run_into_each_other() -> None:
    assert key(CHAT, MINIMAL[CHAT], scope="ab", model="c") != key(CHAT, MINIMAL[CHAT], scope="a", model="bc")


@pytest.mark.parametrize("name", sorted(NOT_IN_THE_KEY))
def test_what_cannot_change_an_answer_is_not_in_the_key(name: str) -> None:
    value = {"include_usage": True} if name == "stream_options" else True if name == "stream" else "x"
    assert key(CHAT, {**BASE[CHAT], name: value}) == key(CHAT, BASE[CHAT])


def test_streamed_and_blocking_requests_share_an_entry_in_every_dialect() -> None:
    for endpoint in Endpoint:
        assert key(endpoint, {**MINIMAL[endpoint], "stream": True}) == key(endpoint, MINIMAL[endpoint])


def test_fields_that_a_response_repeats_stay_in_its_key() -> None:
    for name in NOT_IN_THE_KEY - {"stream", "stream_options"}:
        assert key(RESPONSES, {"input": "x", name: "y"}) != key(RESPONSES, {"input": "x"}), name


def test_the_order_of_keys_and_white_space_do_not_matter() -> None:
    one = b'{"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "x"}]}'
    other = b'{"messages":[{"content":"x","role":"user"}],\n"temperature":0,"model":"m"}'
    assert exact_key(parse(CHAT, one), "t") == exact_key(parse(CHAT, other), "t")


json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


@given(json, json)
def test_other_values_of_any_field_are_other_keys(one: Any, other: Any) -> None:
    keys = {key(CHAT, {**MINIMAL[CHAT], "field": value}) for value in (one, other)}
    assert (len(keys) == 1) == same(one, other)


# Where each dialect carries bytes: a part, with the payload where it stands.
def data_url(payload: str, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{payload}"


PARTS: dict[str, Any] = {
    "image_url": lambda p: (CHAT, {"type": "image_url", "image_url": {"url": data_url(p)}}),
    "bare image_url": lambda p: (CHAT, {"type": "image_url", "image_url": data_url(p)}),
    "no type": lambda p: (CHAT, {"image_url": {"url": data_url(p)}}),
    "video_url": lambda p: (CHAT, {"type": "video_url", "video_url": {"url": data_url(p)}}),
    "input_audio": lambda p: (CHAT, {"type": "input_audio", "input_audio": {"data": p, "format": "wav"}}),
    "input_image": lambda p: (RESPONSES, {"type": "input_image", "image_url": data_url(p)}),
    "source": lambda p: (
        MESSAGES,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": p}},
    ),
    "source url": lambda p: (MESSAGES, {"type": "image", "source": {"type": "url", "url": data_url(p)}}),
    "tool_result": lambda p: (
        MESSAGES,
        {"type": "tool_result", "tool_use_id": "t", "content": [PARTS["source"](p)[1]]},
    ),
    "document content": lambda p: (
        MESSAGES,
        {"type": "document", "source": {"type": "content", "content": [PARTS["source"](p)[1]]}},
    ),
}


def key_with(kind: str, payload: str) -> bytes:
    endpoint, part = PARTS[kind](payload)
    turns = "input" if endpoint is RESPONSES else "messages"
    return key(endpoint, {**MINIMAL[endpoint], turns: [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize("kind", PARTS)
def test_media_count_by_their_bytes_not_by_their_spelling(kind: str) -> None:
    payload = base64.b64encode(PNG).decode()
    spellings = [payload.rstrip("="), base64.urlsafe_b64encode(PNG).decode(), payload[:76] + "\n" + payload[76:]]
    assert {key_with(kind, spelling) for spelling in spellings} == {key_with(kind, payload)}


@pytest.mark.parametrize("kind", PARTS)
@given(st.integers(0, len(PNG) - 1), st.integers(1, 255))
def test_any_other_byte_is_another_key(kind: str, place: int, difference: int) -> None:
    other = bytearray(PNG)
    other[place] ^= difference
    assert key_with(kind, base64.b64encode(other).decode()) != key_with(kind, base64.b64encode(PNG).decode())


def test_the_output_of_a_tool_counts_by_its_bytes_too() -> None:
    def of(payload: str) -> bytes:
        output = [{"type": "input_image", "image_url": data_url(payload)}]
        return key(RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": output}]})

    assert of("QUJD\n") == of("QUJD") != of("QUJE")


def test_media_type_detail_and_uuid_stay_in_the_key() -> None:
    def of(media_type: str = "image/png", **fields: str) -> bytes:
        image = {"url": data_url("QUJD", media_type), **fields}
        return exact_key(look({"type": "image_url", "image_url": image}), "t")

    assert len({of(), of("image/jpeg"), of(detail="low"), of(detail="high")}) == 4
    part = {"type": "image_url", "image_url": data_url("QUJD")}
    assert len({exact_key(look({**part, **more}), "t") for more in ({}, {"uuid": "u"}, {"uuid": "v"})}) == 3


def test_the_order_of_images_and_words_counts() -> None:
    parts: list[Json] = [PARTS["image_url"]("QUJD")[1], PARTS["image_url"]("QUJE")[1], {"type": "text", "text": "x"}]
    orders = [parts, parts[::-1], [parts[1], parts[0], parts[2]]]
    assert len({key(CHAT, {"messages": [{"role": "user", "content": order}]}) for order in orders}) == 3


def test_text_that_looks_like_an_image_counts_by_its_letters() -> None:
    texts = [data_url("QUJD"), data_url("QUJD\n"), data_url("QUI="), data_url("QUJ=")]
    assert len({exact_key(look({"type": "text", "text": text}), "t") for text in texts}) == len(texts)
    assert len({key(COMPLETIONS, {"prompt": text}) for text in texts}) == len(texts)


def test_nothing_a_client_writes_looks_like_a_digest() -> None:
    digest = blake3(b"ABC").hexdigest()
    forged = [digest, f"\xff{digest}", f'""\xff{digest}', f"\ufffd{digest}", f",{digest}"]
    keys = {key_with("source", payload) for payload in forged}
    assert len(keys) == len(forged) and key_with("source", "QUJD") not in keys


def test_a_payload_that_is_not_base64_stands_for_itself() -> None:
    assert key_with("image_url", "!!!") != key_with("image_url", "???")
    assert key_with("source", "!!!") != key_with("source", "???")


@given(st.binary(min_size=1, max_size=99), st.binary(min_size=1, max_size=99))
def test_other_bytes_of_any_length_are_another_key(one: bytes, other: bytes) -> None:
    assume(one != other)
    keys = {key_with("input_audio", base64.b64encode(content).decode()) for content in (one, other)}
    assert len(keys) == 2


def test_a_key_does_not_change_what_goes_upstream() -> None:
    request = look(PARTS["image_url"]("QUJD")[1])
    before = orjson.dumps(dict(request.fields))
    exact_key(request, "t")
    assert orjson.dumps(dict(request.fields)) == before


def test_a_scope_may_be_any_text() -> None:
    assert exact_key(ask(), "\ud800") != exact_key(ask(), "é")

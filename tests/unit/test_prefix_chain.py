"""The fingerprint: equal prefixes have equal hashes, and nothing else does."""

from __future__ import annotations

import base64
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.api.errors import BadRequest
from extproc.api.requests import Media, Message, Text, TokenIds
from extproc.prefix import Shape, fingerprint
from tests.unit.say import PNG, image, message, request

SHAPE = Shape("m", block_size=16, bytes_per_token=4.0)  # 64 bytes a block
LONG = "The quick brown fox jumps over the lazy dog. " * 20

texts = st.text(max_size=300)
parts = st.one_of(texts.map(Text), st.binary(min_size=1, max_size=64).map(image))
messages = st.builds(
    Message, st.sampled_from(["system", "user", "assistant"]), st.lists(parts, min_size=1, max_size=4).map(tuple)
)
conversations = st.lists(messages, min_size=1, max_size=5).map(tuple)


def common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@given(conversations)
def test_the_same_request_has_the_same_chain(conversation: tuple[Message, ...]) -> None:
    assert fingerprint(request(*conversation), SHAPE) == fingerprint(request(*conversation), SHAPE)


@given(conversations, conversations)
def test_a_conversation_that_grows_keeps_its_chain(start: tuple[Message, ...], more: tuple[Message, ...]) -> None:
    before = fingerprint(request(*start), SHAPE)
    after = fingerprint(request(*start, *more), SHAPE)
    assert after.hashes[: len(before)] == before.hashes
    assert after.weights[: len(before)] == before.weights


@given(conversations, conversations)
def test_once_chains_differ_they_never_meet_again(a: tuple[Message, ...], b: tuple[Message, ...]) -> None:
    first, second = fingerprint(request(*a), SHAPE).hashes, fingerprint(request(*b), SHAPE).hashes
    shared = common(first, second)
    assert not set(first[shared:]) & set(second[shared:])


@given(conversations)
def test_blocks_never_weigh_more_than_the_prompt(conversation: tuple[Message, ...]) -> None:
    chain = fingerprint(request(*conversation), SHAPE)
    assert len(chain.hashes) == len(chain.weights)
    assert list(accumulate(chain.weights))[-1:] <= [chain.prompt_tokens]


def test_a_prompt_shorter_than_a_block_has_no_chain_but_weighs_something() -> None:
    chain = fingerprint(request(message("hi")), SHAPE)
    assert chain.hashes == ()
    assert chain.prompt_tokens >= 1


def test_texts_share_exactly_their_common_blocks() -> None:
    a = fingerprint(request(message(LONG + "a" * 100)), SHAPE)
    b = fingerprint(request(message(LONG + "b" * 100)), SHAPE)
    whole_blocks = (len("\x1euser\x1f") + len(LONG)) // 64
    assert common(a.hashes, b.hashes) == whole_blocks


def test_images_with_the_same_text_are_different_prefixes() -> None:
    a = fingerprint(request(message(image(PNG), LONG)), SHAPE)
    b = fingerprint(request(message(image(PNG + b"\0"), LONG)), SHAPE)
    assert not set(a.hashes[1:]) & set(b.hashes[1:])


def test_the_same_image_in_another_message_order_is_another_prefix() -> None:
    a = fingerprint(request(message(image(), LONG)), SHAPE)
    b = fingerprint(request(message(LONG, image())), SHAPE)
    assert common(a.hashes, b.hashes) == 0


def test_an_image_is_the_same_however_its_base64_is_written() -> None:
    plain = base64.b64encode(PNG).decode()
    for spelling in (
        base64.encodebytes(PNG).decode(),
        base64.urlsafe_b64encode(PNG).decode().rstrip("="),
        plain.replace("+", "%2B"),
    ):
        other = fingerprint(request(message(Media("image", base64=spelling), LONG)), SHAPE)
        assert other == fingerprint(request(message(Media("image", base64=plain), LONG)), SHAPE)


def test_an_image_weighs_what_its_size_says() -> None:
    header = PNG[:16] + (1024).to_bytes(4, "big") + (1024).to_bytes(4, "big") + PNG[24:]
    small, large = (fingerprint(request(message(image(png))), SHAPE).weights[-1] for png in (PNG, header))
    assert small == 4
    assert large == 37 * 37


def test_text_before_an_image_is_closed_so_that_no_token_is_lost() -> None:
    chain = fingerprint(request(message("What is this? ", image(), "tell me")), SHAPE)
    assert len(chain) == 2
    assert chain.weights[0] == round(len("\x1euser\x1fWhat is this? ") / 4)


@pytest.mark.parametrize("payload", ["", "!!!!", "abc$", "iVBORw0KGgo=====x"])
def test_what_is_not_base64_is_refused_by_name(payload: str) -> None:
    broken = Media("image", base64=payload, param="messages[0].content[1]")
    with pytest.raises(BadRequest) as refused:
        fingerprint(request(message(broken)), SHAPE)
    assert refused.value.param == "messages[0].content[1]"


def test_remote_images_are_known_by_address() -> None:
    a, b, c = (
        fingerprint(request(message(Media("image", url=url), LONG)), SHAPE).hashes
        for url in ("https://x/a.png", "https://x/a.png", "https://x/b.png")
    )
    assert a == b
    assert common(a, c) <= 1


def test_bytes_under_a_known_uuid_are_not_taken_for_others() -> None:
    a = fingerprint(request(message(image(PNG, uuid="u"), LONG)), SHAPE)
    b = fingerprint(request(message(image(PNG + b"\0", uuid="u"), LONG)), SHAPE)
    assert not set(a.hashes[1:]) & set(b.hashes[1:])


@pytest.mark.parametrize(
    "other",
    [
        request(message(LONG), cache_salt="tenant-b"),
        request(message(LONG), tools='[{"type":"function"}]'),
        request(message(LONG), fields={"lora_path": "adapter"}),
    ],
    ids=["cache salt", "tools", "LoRA adapter"],
)
def test_nothing_matches_across(other: object) -> None:
    plain = fingerprint(request(message(LONG), cache_salt="tenant-a"), SHAPE)
    assert not set(plain.hashes) & set(fingerprint(other, SHAPE).hashes)  # type: ignore[arg-type]


def test_nothing_matches_across_models() -> None:
    a = fingerprint(request(message(LONG)), SHAPE)
    b = fingerprint(request(message(LONG)), Shape("other", block_size=16))
    assert not set(a.hashes) & set(b.hashes)


def test_tools_count_as_prompt() -> None:
    without = fingerprint(request(message(LONG)), SHAPE)
    assert fingerprint(request(message(LONG), tools="x" * 4000), SHAPE).prompt_tokens >= without.prompt_tokens + 1000


def test_prompts_that_come_as_token_ids_are_cut_by_tokens() -> None:
    chain = fingerprint(request(Message("", (TokenIds(tuple(range(40))),))), SHAPE)
    assert chain.weights == (16, 16)
    assert chain.prompt_tokens == 40


def test_a_token_id_that_no_engine_has_is_refused() -> None:
    with pytest.raises(BadRequest):
        fingerprint(request(Message("", (TokenIds((2**70,)),))), SHAPE)


def test_further_prompts_of_a_batch_are_work_but_no_prefix() -> None:
    one = fingerprint(request(Message("", (Text(LONG),))), SHAPE)
    two = fingerprint(request(Message("", (Text(LONG),)), batch=(Text("x" * 400),)), SHAPE)
    assert one.hashes == two.hashes
    assert two.prompt_tokens == one.prompt_tokens + 100


def test_text_that_is_not_valid_unicode_is_still_a_prompt() -> None:
    assert fingerprint(request(message("\ud800" * 200)), SHAPE).hashes

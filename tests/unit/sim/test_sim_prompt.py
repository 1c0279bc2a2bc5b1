"""Bodies become token ids, media runs and block hashes, each of which means what it must."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from extproc.sim.blocks import chain, extra_keys
from extproc.sim.dialects import DIALECTS
from extproc.sim.errors import Refused
from extproc.sim.media import MediaReader, content_identity, image_tokens
from extproc.sim.template import Prompt
from extproc.sim.tokens import tokenize, write
from tests.unit.sim.pictures import data_url, image_part, picture, text_part, user

BLOCK = 16


def prompt(body: dict[str, Any], path: str = "/v1/chat/completions", reader: MediaReader | None = None) -> Prompt:
    return DIALECTS[path].prompts(body, reader or MediaReader("m", {}))[0]


def hashes(body: dict[str, Any], *, lora: str | None = None, salt: str | None = None) -> list[int]:
    rendered = prompt(body)
    blocks = len(rendered.token_ids) // BLOCK
    return chain(rendered.token_ids, BLOCK, extra_keys(blocks, BLOCK, rendered.media, lora, salt))


def shared(left: list[int], right: list[int]) -> int:
    """Blocks that two prompts have in common from their start."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


@given(st.text())
def test_the_same_text_is_the_same_tokens(text: str) -> None:
    assert tokenize(text) == tokenize(text)
    assert len(text) / 5 <= len(tokenize(text)) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_texts_are_different_tokens(left: str, right: str) -> None:
    assert (tokenize(left) == tokenize(right)) == (left == right)


def test_a_token_is_about_four_characters_of_english() -> None:
    text = "The gateway sends each request to the replica that already holds the prefix of its prompt. " * 50
    assert 3 < len(text) / len(tokenize(text)) < 5


@given(st.lists(st.integers(0, 2**31), min_size=1), st.integers(0, 3), st.integers(0, 40))
def test_a_reply_sent_back_is_the_tokens_that_were_generated(ids: list[int], choice: int, count: int) -> None:
    pieces = write(ids, choice, count)
    assert tokenize("".join(pieces)) == [token for piece in pieces for token in tokenize(piece)]
    assert len(tokenize("".join(pieces))) == count


def test_the_next_turn_begins_with_this_prompt_and_its_reply() -> None:
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a prefix?"}]}
    first = prompt(body)
    pieces = write(first.token_ids, 0, 9)
    reply = {"role": "assistant", "content": "".join(pieces)}
    second = prompt({"messages": [*body["messages"], reply, {"role": "user", "content": "And a block?"}]})
    generated = [token for piece in pieces for token in tokenize(piece)]
    assert second.token_ids[: len(first.token_ids) + 9] == first.token_ids + generated


def test_tools_and_system_text_are_part_of_the_prompt() -> None:
    plain = prompt(user("hi")).token_ids
    with_tools = prompt(user("hi") | {"tools": [{"type": "function", "function": {"name": "f"}}]}).token_ids
    with_system = prompt({"messages": [{"role": "system", "content": "s"}, *user("hi")["messages"]]}).token_ids
    assert len({tuple(ids) for ids in (plain, with_tools, with_system)}) == 3
    assert with_tools[-len(plain) :] == plain


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(1024, 1024, 1369), (28, 28, 4), (1, 1, 4), (280, 280, 100), (300, 200, 77), (9000, 9000, 16384)],
)
def test_an_image_costs_what_its_size_says(width: int, height: int, tokens: int) -> None:
    assert image_tokens(width, height) == tokens


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_the_real_size_is_read_from_any_image_format(kind: str) -> None:
    rendered = prompt(user(image_part(picture(280, 140, kind=kind))))
    assert [item.tokens for item in rendered.media] == [50]
    assert rendered.media_tokens == 50
    start = rendered.media[0].offset
    assert len(set(rendered.token_ids[start : start + 50])) == 1


def test_identity_is_vllms_framed_blake3_of_the_file_bytes() -> None:
    def framed(value: bytes) -> bytes:
        return len(value).to_bytes(8, "little") + value

    content = picture()
    expected = blake3(
        framed(b"image") + b"\x03" + framed(b"image") + b"\x03" + framed(content)
        + framed(b"model_id") + b"\x03" + framed(b"m")
    ).hexdigest()  # fmt: skip
    assert content_identity("image", content, "m") == expected
    assert prompt(user(image_part(content))).media[0].identity == expected


def test_the_same_picture_re_encoded_is_another_image() -> None:
    stored, packed = (picture(compress_level=level) for level in (0, 9))
    assert shared(hashes(user(image_part(stored))), hashes(user(image_part(packed)))) == 0


def test_the_same_images_in_another_order_are_another_prefix() -> None:
    one, two = image_part(picture(560, 560, 1)), image_part(picture(560, 560, 2))
    forth, back = hashes(user(one, two)), hashes(user(two, one))
    assert len(forth) == len(back)
    assert shared(forth, back) == 0


def test_images_share_a_prefix_up_to_the_first_that_differs() -> None:
    one, two, three = (image_part(picture(560, 560, color)) for color in (1, 2, 3))
    common = shared(hashes(user(one, two)), hashes(user(one, three)))
    assert 400 <= common * BLOCK < 420


def test_text_before_an_image_stays_shared_when_the_image_changes() -> None:
    text = text_part("word " * 64)
    common = shared(hashes(user(text, image_part(picture(color=1)))), hashes(user(text, image_part(picture(color=2)))))
    assert common * BLOCK >= 48


def test_a_uuid_is_the_identity_whatever_the_bytes() -> None:
    one, two = (prompt(user(image_part(picture(color=color), uuid="mine"))) for color in (1, 2))
    assert one.media[0].identity == two.media[0].identity == "mine"


def test_a_uuid_without_data_works_only_if_it_was_seen() -> None:
    reader = MediaReader("m", {})
    bare = user({"type": "image_url", "image_url": None, "uuid": "mine"})
    with pytest.raises(Refused) as refused:
        prompt(bare, reader=reader)
    assert refused.value.status == 400
    seen = prompt(user(image_part(picture(280, 280), uuid="mine")), reader=reader)
    assert prompt(bare, reader=reader) == seen


def test_a_remote_image_is_its_url() -> None:
    def remote(url: str) -> Prompt:
        return prompt(user({"type": "image_url", "image_url": {"url": url}}))

    assert remote("https://a.test/1.png") == remote("https://a.test/1.png")
    assert remote("https://a.test/1.png") != remote("https://a.test/2.png")
    assert remote("https://a.test/1.png").media_tokens == 1024


def test_sound_and_video_are_counted_by_their_bytes() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(bytes(12800)).decode(), "format": "wav"}}
    video = {
        "type": "video_url",
        "video_url": {"url": "data:video/mp4;base64," + base64.b64encode(bytes(4096)).decode()},
    }
    assert [item.tokens for item in prompt(user(sound, video)).media] == [10, 4]


@pytest.mark.parametrize(
    "part",
    [
        image_part(b"not an image"),
        image_part(b"\x89PNG\r\n\x1a\n"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@@"}},
        {"type": "image_url", "image_url": {"url": "data:image/png,raw"}},
        {"type": "image_url", "image_url": {"url": "ftp://a.test/1.png"}},
        {"type": "image_url", "image_url": 3},
        {"type": "image_url"},
        {"type": "smell", "smell": "rose"},
        {"type": "text"},
        17,
    ],
)
def test_a_broken_part_is_a_400(part: Any) -> None:
    with pytest.raises(Refused) as refused:
        prompt(user(part))
    assert refused.value.status == 400


def test_every_dialect_reads_the_same_image_alike() -> None:
    content = picture(280, 280)
    encoded = base64.b64encode(content).decode()
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    claude = prompt(user({"type": "image", "source": source}), "/v1/messages")
    item = {"role": "user", "content": [{"type": "input_image", "image_url": data_url(content)}]}
    response = prompt({"input": [item]}, "/v1/responses")
    assert prompt(user(image_part(content))).media == claude.media == response.media


def test_lora_is_in_every_block_and_salt_in_the_first() -> None:
    body = user("word " * 100)
    assert shared(hashes(body), hashes(body, lora="a")) == 0
    assert shared(hashes(body), hashes(body, salt="tenant")) == 0
    assert shared(hashes(body, salt="tenant"), hashes(body, salt="tenant")) == len(hashes(body))


def test_extra_keys_place_an_image_relative_to_each_block() -> None:
    rendered = prompt(user(image_part(picture(280, 280))))
    item = rendered.media[0]
    keys = extra_keys(8, BLOCK, rendered.media, "lora", "salt")
    assert keys[0] == ("lora", [item.identity, item.offset], "salt")
    assert keys[1] == ("lora", [item.identity, item.offset - BLOCK])
    assert keys[7] == ("lora",)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=80), st.integers(0, 79))
def test_a_changed_token_changes_its_block_and_all_after(ids: list[int], position: int) -> None:
    position %= len(ids)
    changed = [*ids[:position], ids[position] ^ 1, *ids[position + 1 :]]
    blocks: list[None] = [None] * (len(ids) // BLOCK)
    before, after = chain(ids, BLOCK, blocks), chain(changed, BLOCK, blocks)
    assert [a == b for a, b in zip(before, after, strict=True)] == [i < position // BLOCK for i in range(len(before))]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"messages": "hi"}),
        ("/v1/chat/completions", {"messages": [{"content": "hi"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": 3}]}),
        ("/v1/completions", {}),
        ("/v1/completions", {"prompt": ""}),
        ("/v1/completions", {"prompt": [-1]}),
        ("/v1/completions", {"prompt": [1, "a"]}),
        ("/v1/responses", {}),
        ("/v1/responses", {"input": [{"type": "dream"}]}),
        ("/v1/embeddings", {"input": []}),
        ("/v1/messages", {"messages": []}),
    ],
)
def test_a_body_without_a_prompt_is_a_400(path: str, body: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        prompt(body, path)
    assert refused.value.status == 400


def test_completions_take_token_ids_as_they_are() -> None:
    dialect, reader = DIALECTS["/v1/completions"], MediaReader("m", {})
    assert prompt({"prompt": [5, 6, 7]}, "/v1/completions").token_ids == [5, 6, 7]
    assert [p.token_ids for p in dialect.prompts({"prompt": [[1, 2], [3]]}, reader)] == [[1, 2], [3]]
    assert len(dialect.prompts({"prompt": ["one", "two"]}, reader)) == 2

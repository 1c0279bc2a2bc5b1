"""How many tokens a medium is taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.prefix.media import MediaIdentity
from extproc.prefix.tokens import llava_onevision, media_tokens, openai_tiles, qwen2_vl

sides = st.integers(1, 20_000)


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 1369), (28, 28, 4), (1920, 1080, 69 * 39)])
def test_qwen2_vl_spends_one_token_on_28_by_28_pixels(width: int, height: int, tokens: int) -> None:
    assert qwen2_vl(width, height) == tokens


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 7371), (384, 384, 729 + 27 * 28)])
def test_llava_onevision_adds_tiles_to_a_base_view(width: int, height: int, tokens: int) -> None:
    assert llava_onevision(width, height) == tokens


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 765), (512, 512, 255), (2048, 4096, 1105)])
def test_openai_counts_512_pixel_tiles(width: int, height: int, tokens: int) -> None:
    assert openai_tiles(width, height) == tokens


@given(sides, sides, st.sampled_from(["qwen2_vl", "llava_onevision", "openai_tiles"]))
def test_any_size_has_a_positive_bounded_weight(width: int, height: int, rule: str) -> None:
    assert 1 <= media_tokens("image", MediaIdentity(b"", 1, width, height), rule) <= 20_000


def test_a_fixed_number_is_what_it_says() -> None:
    assert media_tokens("image", MediaIdentity(b"", 1, 10, 10), 664) == 664


def test_an_image_of_unknown_size_is_not_weightless() -> None:
    assert media_tokens("image", MediaIdentity(b""), "qwen2_vl") > 100

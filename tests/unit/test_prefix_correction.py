"""What a token is, learned from what engines count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.prefix import UNCORRECTED, Content, Correction, Shape, fingerprint
from tests.unit.say import message, request


def text(tokens: float) -> Content:
    return Content(text_tokens=tokens)


def images(*sizes: tuple[int, int], each: int = 1000, text_tokens: float = 0.0) -> Content:
    return Content(text_tokens, tuple((size, each) for size in sizes))


def test_a_language_with_more_tokens_a_byte_is_learned() -> None:
    correction = Correction()
    for _ in range(60):
        correction.learn(text(1000), 1400)
    assert correction.text == pytest.approx(1.4, rel=0.01)


def test_images_of_each_size_are_learned_on_their_own_and_unseen_sizes_follow_the_others() -> None:
    correction = Correction()
    for _ in range(80):
        correction.learn(images((560, 560), text_tokens=100), 100 + 500)
        correction.learn(images((1024, 1024), text_tokens=100), 100 + 2000)
    assert correction.image_tokens((560, 560), 1000) == pytest.approx(500, rel=0.05)
    assert correction.image_tokens((1024, 1024), 1000) == pytest.approx(2000, rel=0.05)
    assert 500 < correction.image_tokens((800, 800), 1000) < 2000


def test_text_around_images_does_not_teach_what_an_image_weighs() -> None:
    correction = Correction()
    correction.learn(images((10, 10), each=50, text_tokens=5000), 9000)
    assert (correction.image, correction.text) == (1.0, 1.0)


def test_token_ids_need_no_correction() -> None:
    correction = Correction()
    for _ in range(50):
        correction.learn(Content(other_tokens=1000), 1000)
        correction.learn(Content(text_tokens=100, other_tokens=1000), 1100)
    assert correction.text == pytest.approx(1.0)


def test_one_lie_moves_little() -> None:
    correction = Correction()
    correction.learn(text(1000), 10**9)
    assert correction.text <= 1.05
    correction.learn(text(1000), 1)
    assert correction.text >= 0.95


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 20_000)), max_size=3),
            st.integers(1, 2**53),
        ),
        max_size=40,
    )
)
def test_whatever_is_counted_factors_stay_within_reason(
    answers: list[tuple[float, list[tuple[int, int]], int]],
) -> None:
    correction = Correction()
    for text_tokens, pictures, counted in answers:
        content = Content(text_tokens, tuple(((side, side), tokens) for side, tokens in pictures))
        correction.learn(content, counted)
    assert 1 / 16 <= correction.text <= 16
    assert 1 <= correction.image_tokens((640, 480), 1000) <= 16_000


def test_what_is_learned_changes_weights_but_never_where_blocks_are_cut() -> None:
    correction = Correction()
    for _ in range(60):
        correction.learn(text(1000), 1400)
    prompt = request(message("words " * 1000))
    before, after = (fingerprint(prompt, Shape("m", correction=each)) for each in (UNCORRECTED, correction))
    assert before.hashes == after.hashes
    assert after.prompt_tokens == pytest.approx(1.4 * before.prompt_tokens, rel=0.02)


def test_an_estimate_says_what_it_was_made_from() -> None:
    chain = fingerprint(request(message("x" * 400)), Shape("m", bytes_per_token=4))
    assert chain.content.text_tokens == pytest.approx(100, abs=3)

"""Segments: who shares what, as the engine and as the gateway see it."""

from __future__ import annotations

from bench.routing.segments import Segment, engine_blocks, gateway_chain, request


def text(name: str, tokens: int) -> Segment:
    return Segment("text", name, tokens)


def image(name: str, tokens: int = 1369) -> Segment:
    return Segment("image", name, tokens)


def shared(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Leading blocks in common."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def test_prompts_share_the_engine_blocks_that_lie_within_equal_segments() -> None:
    one = engine_blocks([text("system", 40), text("a", 60)], 16)
    two = engine_blocks([text("system", 40), text("b", 60)], 16)

    assert len(one) == 100 // 16
    assert shared(one, two) == 2  # of 40 tokens, two blocks of 16 are whole


def test_equal_text_at_another_place_is_not_shared() -> None:
    assert shared(engine_blocks([text("x", 64)], 16), engine_blocks([text("y", 16), text("x", 64)], 16)) == 0


def test_the_same_id_with_another_length_or_kind_is_other_content() -> None:
    blocks = {engine_blocks([segment], 16)[0] for segment in (text("x", 32), text("x", 48), image("x", 32))}

    assert len(blocks) == 3


def test_the_gateway_cuts_a_run_of_text_every_64_tokens_across_segments() -> None:
    chain, media = gateway_chain([text("a", 50), text("b", 100)])

    assert chain.weights == (64, 64)
    assert chain.prompt_tokens == 150
    assert media == ()


def test_an_image_is_one_block_with_its_whole_weight_and_closes_the_text_before_it() -> None:
    chain, media = gateway_chain([text("a", 100), image("i", 6500), text("b", 70)])

    assert chain.weights == (64, 36, 6500, 64)
    assert media == (2,)


def test_the_gateway_tells_prompts_apart_by_what_is_in_front_of_an_image() -> None:
    one, _ = gateway_chain([text("a", 100), image("i")])
    two, _ = gateway_chain([text("b", 100), image("i")])

    assert not set(one.hashes) & set(two.hashes)


def test_an_answer_is_a_prefix_of_the_next_turn() -> None:
    answer = text("answer", 30)
    first = request("1", 0.0, [text("ask", 40)], answer, block_size=16)
    second = request("2", 0.0, [text("ask", 40), answer, text("more", 20)], text("end", 5), block_size=16)

    computed = first.block_hashes + first.output_block_hashes
    assert len(computed) == 70 // 16
    assert second.block_hashes[: len(computed)] == computed


def test_hashes_fit_in_63_bits() -> None:
    assert all(0 <= block < 1 << 63 for block in engine_blocks([text("a", 4000)], 16))

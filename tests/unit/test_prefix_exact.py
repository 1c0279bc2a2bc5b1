"""The keys of a prompt's blocks, against a slow definition that follows the engine's own rules block by block."""

from __future__ import annotations

from array import array
from typing import Any

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from extproc.prefix.exact import ROOT, ExactPrompt, MediaRun, block_key, extra_bytes, keys


def ids(*values: int) -> array[int]:
    return array("I", values)


def engine_extra_keys(prompt: ExactPrompt, start: int, end: int) -> list[Any] | None:
    """What vLLM lists for one block, by looking at every token."""
    listed: list[Any] = [prompt.lora] if prompt.lora else []
    for run in prompt.media:
        inside = set(range(run.start, run.start + run.length)) & set(range(start, end))
        listed += [[run.identifier, run.start - start]] if inside else []
    if start == 0 and prompt.cache_salt:
        listed.append(prompt.cache_salt)
    return listed or None


def slow_keys(prompt: ExactPrompt, block_size: int) -> tuple[int, ...]:
    found, parent = [], 0
    for start in range(0, len(prompt.ids) - block_size + 1, block_size):
        content = b"".join(value.to_bytes(4, "little") for value in prompt.ids[start : start + block_size])
        content += extra_bytes(engine_extra_keys(prompt, start, start + block_size))
        parent = xxhash.xxh3_64(content, seed=parent).intdigest()
        found.append(parent)
    return tuple(found)


@st.composite
def prompts(draw: st.DrawFn) -> ExactPrompt:
    values = draw(st.lists(st.integers(0, 2**32 - 1), max_size=60))
    media, at = [], 0
    while at < len(values) and draw(st.booleans()):
        start = draw(st.integers(at, len(values) - 1))
        length = draw(st.integers(1, len(values) - start))
        media.append(MediaRun(start, length, draw(st.sampled_from(["a", "b", "ab"]))))
        at = start + length
    lora, salt = draw(st.sampled_from(["", "sql"])), draw(st.sampled_from(["", "tenant"]))
    return ExactPrompt(array("I", values), tuple(media), lora, salt)


@given(prompts(), st.integers(1, 17))
def test_keys_follow_the_engines_rules(prompt: ExactPrompt, block_size: int) -> None:
    assert keys(prompt, block_size) == slow_keys(prompt, block_size)


@given(prompts(), st.integers(1, 17))
def test_a_request_and_the_engines_report_of_it_have_the_same_keys(prompt: ExactPrompt, block_size: int) -> None:
    parent, reported = ROOT, []
    for start in range(0, len(prompt.ids) - block_size + 1, block_size):
        end = start + block_size
        parent = block_key(parent, prompt.ids[start:end], extra_bytes(engine_extra_keys(prompt, start, end)))
        reported.append(parent)
    assert keys(prompt, block_size) == tuple(reported)


@given(prompts(), st.integers(1, 9), st.integers(0, 60))
def test_a_longer_prompt_begins_with_the_keys_of_a_shorter_one(prompt: ExactPrompt, block_size: int, cut: int) -> None:
    media = tuple(run for run in prompt.media if run.start + run.length <= cut)
    if any(run.start < cut < run.start + run.length for run in prompt.media):
        return
    shorter = ExactPrompt(prompt.ids[:cut], media, prompt.lora, prompt.cache_salt, complete=False)
    assert keys(prompt, block_size)[: cut // block_size] == keys(shorter, block_size)


def test_another_image_in_the_same_place_is_another_prefix() -> None:
    one = ExactPrompt(ids(1, 9, 9, 2), (MediaRun(1, 2, "cat"),))
    other = ExactPrompt(ids(1, 9, 9, 2), (MediaRun(1, 2, "dog"),))
    assert keys(one, 1)[0] == keys(other, 1)[0]
    assert set(keys(one, 1)[1:]).isdisjoint(keys(other, 1)[1:])


def test_another_salt_or_adapter_shares_nothing() -> None:
    tried = [ExactPrompt(ids(1, 2, 3, 4), lora=lora, cache_salt=salt) for lora in ("", "x") for salt in ("", "y")]
    found = [keys(prompt, 2) for prompt in tried]
    assert len({key for chain in found for key in chain}) == 8


def test_extra_keys_come_as_lists_or_tuples() -> None:
    assert extra_bytes(["sql", ["cat", -3], "salt"]) == extra_bytes(("sql", ("cat", -3), "salt"))
    assert extra_bytes(None) == extra_bytes([]) == b""


def test_an_unknown_extra_key_is_not_no_key() -> None:
    assert extra_bytes([{"new": 1}]) not in (b"", extra_bytes(["new"]))


def test_a_block_may_be_given_packed() -> None:
    assert block_key(7, ids(1, 2)) == block_key(7, ids(1, 2).tobytes()) == block_key(7, memoryview(ids(1, 2)))

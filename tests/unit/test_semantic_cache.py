"""The semantic cache as a whole, with entries in memory."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import numpy as np
import pytest

from extproc.api import body
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.caching.answer import Answer
from extproc.caching.semantic import (
    Asked,
    Found,
    HashingEmbedder,
    MemoryEntries,
    SemanticCache,
    SemanticSettings,
)
from extproc.caching.semantic.embedders import Vector
from extproc.caching.semantic.memory import Matrix
from extproc.clock import ManualClock

QUESTION = "What is the capital of France?"
AGAIN = "Please tell me the capital of France."


class StubbornEmbedder:
    """The same vector for every text, or none."""

    name, dims, knows_synonyms = "stubborn", 4, True

    def __init__(self, *, down: bool = False) -> None:
        self.down = down

    async def embed(self, text: str) -> Vector | None:
        return None if self.down else np.array([1, 0, 0, 0], np.float32)

    async def close(self) -> None:
        pass


def chat(content: object = QUESTION, **fields: Any) -> InferenceRequest:
    asked = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return body.parse(Endpoint.CHAT_COMPLETIONS, json.dumps(asked).encode())


def picture(pixels: bytes, text: str = QUESTION) -> list[dict[str, Any]]:
    url = "data:image/png;base64," + base64.b64encode(pixels).decode()
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


def reply(text: str = "Paris", **message: Any) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return Answer(Endpoint.CHAT_COMPLETIONS, json.dumps({"choices": [choice]}).encode(), created_s=100.0)


def cache_of(**settings: Any) -> SemanticCache:
    entries = MemoryEntries(ManualClock())
    return SemanticCache(HashingEmbedder(), entries, SemanticSettings(**settings), wall=lambda: 160.0)


async def ask(cache: SemanticCache, request: InferenceRequest, answer: Answer | None = None, tenant: str = "t") -> bool:
    """Whether a stored answer was given; if not, the answer is stored."""
    found = await cache.look_up(request, tenant)
    if isinstance(found, Asked):
        await cache.store(found, answer or reply())
    return isinstance(found, Found)


async def test_the_same_question_in_other_words_gets_the_answer() -> None:
    cache = cache_of()
    assert not await ask(cache, chat())
    found = await cache.look_up(chat(AGAIN), "t")
    assert isinstance(found, Found)
    assert (found.answer, found.similarity, found.age_s) == (reply(), 1.0, 60.0)


@pytest.mark.parametrize(
    "other",
    [
        chat(temperature=0.5),
        chat(max_tokens=5),
        chat(response_format={"type": "json_object"}),
        chat(tools=[{"type": "function", "function": {"name": "f"}}]),
        chat(n=2),
        chat(model="other"),
        chat(cache_salt="x"),
        chat(unheard_of=1),
        chat(picture(b"a cat")),
        chat(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]),
        chat(messages=[{"role": "user", "content": QUESTION, "name": "Ann"}]),
    ],
)
async def test_another_setting_is_another_question(other: InferenceRequest) -> None:
    cache = cache_of()
    await ask(cache, chat())
    assert not await ask(cache, other)


async def test_a_tenant_never_gets_the_answer_of_another() -> None:
    cache = cache_of()
    await ask(cache, chat(), tenant="a")
    assert not await ask(cache, chat(), tenant="b")


async def test_another_image_is_another_question_and_the_same_image_in_other_words_is_not() -> None:
    cache = cache_of()
    await ask(cache, chat(picture(b"a cat")))
    assert not await ask(cache, chat(picture(b"a dog")))
    assert await ask(cache, chat(picture(b"a cat", AGAIN)))
    assert not await ask(cache, chat(picture(b"a cat")[::-1]))


async def test_streamed_and_blocking_requests_share_answers() -> None:
    cache = cache_of()
    await ask(cache, chat(stream=True, user="ann"))
    assert await ask(cache, chat(AGAIN))


async def test_whatever_the_vectors_say_a_near_miss_goes_upstream() -> None:
    cache = SemanticCache(StubbornEmbedder(), MemoryEntries(ManualClock()), rng=random.Random(1))
    await ask(cache, chat("Convert 10 km to miles"))
    for _ in range(300):
        assert isinstance(await cache.look_up(chat("Convert 100 km to miles"), "t"), Asked)
    assert cache.stats.explored == 0 and cache.stats.refused == {"numbers": 300}


async def test_an_entry_is_trusted_once_enough_answers_agreed() -> None:
    cache = SemanticCache(StubbornEmbedder(), MemoryEntries(ManualClock()), rng=random.Random(1))
    await ask(cache, chat("How do I mend a puncture?"))
    hits = []
    for _ in range(400):
        found = await cache.look_up(chat("How do I patch a puncture?"), "t")
        hits.append(isinstance(found, Found))
        if isinstance(found, Asked):
            await cache.learn(found, reply())
    assert not any(hits[:8])
    assert sum(hits[-50:]) > 20


async def test_an_entry_whose_answers_disagree_is_never_trusted() -> None:
    cache = SemanticCache(StubbornEmbedder(), MemoryEntries(ManualClock()), rng=random.Random(1))
    await ask(cache, chat("How do I mend a puncture?"))
    for _ in range(200):
        found = await cache.look_up(chat("How do I patch a puncture?"), "t")
        assert isinstance(found, Asked)
        await cache.learn(found, reply("5 of another"))
    assert cache.stats.agreed == 0


async def test_answers_with_tool_calls_or_several_choices_are_not_kept() -> None:
    cache = cache_of()
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert not await ask(cache, chat(), reply(tool_calls=calls))
    assert not await ask(cache, chat(), reply(""))
    assert not await ask(cache, chat())


async def test_without_vectors_only_the_same_question_is_found() -> None:
    embedder = StubbornEmbedder(down=True)
    cache = SemanticCache(embedder, MemoryEntries(ManualClock()))
    await ask(cache, chat())
    assert await ask(cache, chat(AGAIN))
    assert not await ask(cache, chat("What is the capital of Peru?"))
    assert cache.stats.without_vector == 2


async def test_directives_are_honoured() -> None:
    cache = cache_of()
    await ask(cache, chat())
    assert isinstance(await cache.look_up(chat(), "t", use=False), Asked)
    assert isinstance(await cache.look_up(chat(), "t", max_age_s=59), Asked)
    assert isinstance(await cache.look_up(chat(), "t", max_age_s=60), Found)


async def test_what_has_no_last_user_turn_in_words_is_left_alone() -> None:
    cache = cache_of()
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Well,"}]
    assert await cache.look_up(chat(messages=turns), "t") is None
    assert await cache.look_up(chat(picture(b"a cat", " ")), "t") is None
    completion = body.parse(Endpoint.COMPLETIONS, b'{"model": "m", "prompt": "What is the capital of France?"}')
    assert await cache.look_up(completion, "t") is None


@pytest.mark.parametrize(
    ("endpoint", "fields", "reply_body"),
    [
        (Endpoint.MESSAGES, {"messages": [{"role": "user", "content": "{}"}], "max_tokens": 9},
         {"content": [{"type": "text", "text": "Paris"}]}),
        (Endpoint.RESPONSES, {"input": "{}"},
         {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}]}),
        (Endpoint.RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "{}"}]}]},
         {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}]}),
    ],
)  # fmt: skip
async def test_other_dialects_are_read_too(endpoint: Endpoint, fields: dict[str, Any], reply_body: Any) -> None:
    def request(text: str) -> InferenceRequest:
        return body.parse(endpoint, json.dumps({"model": "m", **fields}).replace('"{}"', json.dumps(text)).encode())

    cache = cache_of()
    assert not await ask(cache, request(QUESTION), Answer(endpoint, json.dumps(reply_body).encode(), 1.0))
    assert await ask(cache, request(AGAIN))
    assert not await ask(cache, request("What is the capital of Peru?"))


async def test_entries_expire_and_are_bounded_over_all_scopes() -> None:
    clock = ManualClock()
    entries = MemoryEntries(clock, max_entries=3)
    cache = SemanticCache(HashingEmbedder(), entries, SemanticSettings(ttl_s=10))
    for number in range(5):
        await ask(cache, chat(f"What is {number}?"), tenant=f"t{number % 2}")
    assert len(entries) == 3
    assert not await ask(cache, chat("What is 0?"), tenant="t0")
    assert await ask(cache, chat("What is 4?"), tenant="t0")
    clock.advance(10)
    assert not await ask(cache, chat("What is 4?"), tenant="t0")
    await cache.flush()
    assert len(entries) == 0 and entries.held_bytes == 0


async def test_a_flush_forgets_one_holder() -> None:
    cache = cache_of()
    await ask(cache, chat(), tenant="a")
    await ask(cache, chat(), tenant="b")
    await cache.flush("a")
    assert not await ask(cache, chat(), tenant="a")
    assert await ask(cache, chat(), tenant="b")


def test_the_matrix_finds_the_nearest_after_any_coming_and_going() -> None:
    rng = np.random.default_rng(5)
    matrix, held = Matrix(), {}
    for step in range(300):
        key = bytes([int(rng.integers(40))])
        if rng.random() < 0.4:
            matrix.drop(key)
            held.pop(key, None)
        else:
            held[key] = rng.normal(size=16).astype(np.float32)
            matrix.put(key, held[key])
        vector = rng.normal(size=16).astype(np.float32)
        found = matrix.nearest(vector, 3)
        expected = sorted(held, key=lambda name: -float(held[name] @ vector))[:3]
        assert [name for name, _ in found] == expected, step

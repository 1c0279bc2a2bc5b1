"""What the virtual clock shows must hold through the real Envoy: the same strategies, in the same order."""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
from collections.abc import AsyncIterator
from itertools import permutations
from statistics import mean
from typing import Any, NamedTuple

from bench.routing import one
from bench.routing.fleet import FleetPlan
from bench.routing.request import Workload
from bench.routing.segments import Segment, request
from tests.envoy.gateway import Gateway

STRATEGIES = ("prefix_kv_aware", "least_busy", "round_robin")
BLOCK_SIZE = 16
KV_TOKENS = 1125 * BLOCK_SIZE
"""Of each replica: the conversations fit in three such caches, one by one, and not in one of them."""
PREFILL_TOKENS_PER_S, DECODE_TOKENS_PER_S = 6000.0, 150.0
SPEEDS = (1.0, 1.0, 0.5)
CONVERSATIONS, TURNS = 12, 8
ARRIVE_EVERY_S, THINK_S = 0.5, 0.5
SYSTEM_TOKENS, DOCUMENT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 400, 3000, 60, 30
CLEARLY = 1.5
"""The factor from which on the virtual clock tells two strategies apart."""
VISIBLY = 1.2
"""The factor that must be left of it on a machine that does other things, too."""


class Seen(NamedTuple):
    """How a fleet served the workload.

    Args:
        ttft_s: mean.
        hit_rate: cached share of all prompt tokens, as the engines counted them.
    """

    ttft_s: float
    hit_rate: float


async def test_strategies_are_in_the_same_order_through_envoy_as_on_the_virtual_clock() -> None:
    virtual = {strategy: on_the_virtual_clock(strategy) for strategy in STRATEGIES}
    # At the same time, so that whatever else the machine does falls on all of them.
    real = dict(zip(STRATEGIES, await asyncio.gather(*map(through_envoy, STRATEGIES)), strict=True))
    told = f"virtual {virtual}, real {real}"

    for better, worse in permutations(STRATEGIES, 2):
        if virtual[worse].ttft_s > CLEARLY * virtual[better].ttft_s:
            assert real[worse].ttft_s > real[better].ttft_s, told
        if virtual[better].hit_rate > CLEARLY * virtual[worse].hit_rate:
            assert real[better].hit_rate > real[worse].hit_rate, told

    for fleet, factor in ((virtual, CLEARLY), (real, VISIBLY)):
        ours = fleet["prefix_kv_aware"]
        for other in ("least_busy", "round_robin"):
            assert fleet[other].ttft_s > factor * ours.ttft_s, told
            assert ours.hit_rate > factor * fleet[other].hit_rate, told
    assert virtual["round_robin"].ttft_s > CLEARLY * virtual["least_busy"].ttft_s, told


def on_the_virtual_clock(strategy: str) -> Seen:
    plan = FleetPlan(
        len(SPEEDS), KV_TOKENS // BLOCK_SIZE, BLOCK_SIZE, PREFILL_TOKENS_PER_S, DECODE_TOKENS_PER_S, speeds=SPEEDS
    )
    _, outcome = one.run(f"kvgate:{strategy}", workload(), plan)
    return Seen(outcome.ttft_mean_s, outcome.hit_rate)


def workload() -> Workload:
    requests = []
    for conversation in range(CONVERSATIONS):
        prompt = [Segment("text", "system", SYSTEM_TOKENS)]
        for turn in range(TURNS):
            prompt = [*prompt, Segment("text", f"{conversation}, {turn}", question_tokens(turn))]
            answer = Segment("text", f"answer to {conversation}, {turn}", ANSWER_TOKENS)
            requests.append(
                request(
                    f"{conversation}/{turn}",
                    conversation * ARRIVE_EVERY_S,
                    prompt,
                    answer,
                    block_size=BLOCK_SIZE,
                    after=f"{conversation}/{turn - 1}" if turn else None,
                    think_s=THINK_S,
                )
            )
            prompt = [*prompt, answer]
    return Workload("conversations about documents", tuple(requests), BLOCK_SIZE)


async def through_envoy(strategy: str) -> Seen:
    gateway = Gateway(routing={"strategy": strategy})
    gateway.config["providers"] = [
        {
            "name": f"speed-{speed}",
            "type": "mock",
            "prefill_tokens_per_second": PREFILL_TOKENS_PER_S * speed,
            "tokens_per_second": DECODE_TOKENS_PER_S * speed,
            "kv_tokens": KV_TOKENS,
            "replicas": [
                {"name": name, "url": url}
                for (name, url), its_speed in zip(gateway.replicas.items(), SPEEDS, strict=True)
                if its_speed == speed
            ],
        }
        for speed in dict.fromkeys(SPEEDS)
    ]
    deployments = [{"provider": provider["name"]} for provider in gateway.config["providers"]]
    gateway.config["models"] = [{"name": "m", "bytes_per_token": 5.0, "deployments": deployments}]
    async with gateway:
        conversations = await asyncio.gather(*(converse(gateway, number) for number in range(CONVERSATIONS)))
    answers = [answer for conversation in conversations for answer in conversation]
    assert len(answers) == CONVERSATIONS * TURNS
    hits = sum(answer.cached_tokens for answer in answers) / sum(answer.prompt_tokens for answer in answers)
    return Seen(mean(answer.ttft_s for answer in answers), hits)


class Answer(NamedTuple):
    text: str
    ttft_s: float
    prompt_tokens: int
    cached_tokens: int


async def converse(gateway: Gateway, number: int) -> list[Answer]:
    await asyncio.sleep(number * ARRIVE_EVERY_S)
    messages = [{"role": "system", "content": words("system", SYSTEM_TOKENS)}]
    answers: list[Answer] = []
    for turn in range(TURNS):
        if turn:
            await asyncio.sleep(THINK_S)
        messages.append({"role": "user", "content": words(f"{number}, {turn}", question_tokens(turn))})
        answers.append(await ask(gateway, messages))
        messages.append({"role": "assistant", "content": answers[-1].text})
    return answers


async def ask(gateway: Gateway, messages: list[dict[str, str]]) -> Answer:
    body = {
        "model": "m",
        "messages": messages,
        "max_tokens": ANSWER_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    text = ""
    usage: dict[str, Any] = {}
    asked_s, first_s = time.monotonic(), None
    async with gateway.post(body) as response:
        assert response.status == 200, await response.text()
        async for chunk in chunks(response):
            said = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            if said and first_s is None:
                first_s = time.monotonic()
            text += said
            usage = chunk.get("usage") or usage
    assert first_s is not None
    return Answer(text, first_s - asked_s, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])


async def chunks(response: Any) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream, without the last."""
    async for line in response.content:
        if line.startswith(b"data: {"):
            yield json.loads(line[len(b"data: ") :])


def question_tokens(turn: int) -> int:
    """The first question comes with a document."""
    return QUESTION_TOKENS if turn else DOCUMENT_TOKENS


def words(name: str, tokens: int) -> str:
    """Text of so many tokens, and of five bytes each; one name is one text."""
    letters = iter(random.Random(name).choices(string.ascii_lowercase, k=4 * tokens))
    return " ".join("".join(word) for word in zip(letters, letters, letters, letters, strict=True))

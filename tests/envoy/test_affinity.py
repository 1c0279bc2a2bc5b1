"""Where requests go when there are many of them: back to where they are warm, and not all to one place."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.gateway import Gateway
from tests.envoy.media import image_part

IMAGES, TURNS, CONCURRENCY = 12, 4, 8
QUESTION = "Please describe in a few words what can be seen here, and then say what is missing. "
REALISTIC = {"prefill_tokens_per_second": 8000, "tokens_per_second": 200}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway(provider=REALISTIC) as running:
        yield running


@pytest.mark.parametrize("image_first", [True, False], ids=["image first", "text first"])
async def test_conversations_about_images_stay_where_they_began_and_replicas_are_balanced(
    gateway: Gateway, image_first: bool
) -> None:
    pace = random.Random(7)
    homes: dict[int, str] = {}
    served: Counter[str] = Counter()
    at_home = 0
    places = asyncio.Semaphore(CONCURRENCY)

    async def converse(number: int) -> None:
        nonlocal at_home
        picture = image_part(number + image_first * IMAGES, 560)
        first = [picture, QUESTION] if image_first else [QUESTION, picture]
        later: list[Any] = []
        async with places:
            for turn in range(TURNS):
                answer = await gateway.chat(*first, *later, max_tokens=32)
                assert answer.status == 200
                replica = answer.headers["x-kvgate-replica"]
                served[replica] += 1
                at_home += homes.setdefault(number, replica) == replica and turn > 0
                later.append(f"And what else? {turn}")
                await asyncio.sleep(pace.uniform(0, 0.3))  # people think for different times

    await asyncio.gather(*(converse(number) for number in range(IMAGES)))
    assert at_home / (IMAGES * (TURNS - 1)) >= 0.9
    assert max(served.values()) <= 1.2 * IMAGES * TURNS / len(gateway.replicas), served


async def test_one_popular_prefix_is_served_by_more_than_one_replica(gateway: Gateway) -> None:
    document = "Everybody asks about the same long document. " * 400  # about 0.5 s of prefill
    questions = [f"{number} wants to know something else about it. " * 20 for number in range(60)]
    await gateway.chat(document, max_tokens=1)
    answers = await asyncio.gather(*(gateway.chat(document, each, max_tokens=100) for each in questions))
    served = Counter(answer.headers["x-kvgate-replica"] for answer in answers)
    assert len(served) > 1, served


async def test_round_robin_takes_turns_through_the_whole_gateway(gateway: Gateway) -> None:
    async with gateway.configured(routing={"strategy": "round_robin"}):
        served = [(await gateway.chat("same")).headers["x-kvgate-replica"] for _ in range(6)]
        assert served[:3] == served[3:]
        assert set(served) == set(gateway.replicas)

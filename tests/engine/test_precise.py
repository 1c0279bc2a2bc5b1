"""What the gateway predicts in precise mode is what vLLM had cached, over texts, images, tenants and evictions."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engine.conftest import Offloading, in_front_of
from tests.engine.conversations import Conversation, conversations
from tests.engine.engines import Engine
from tests.envoy.gateway import Gateway
from tests.envoy.media import image_part

_EQUAL_SHARE = 0.99
_EQUAL_SHARE_WITH_A_TIER = 0.98
"""What an engine puts into LMCache behind its last step it tells with the next one only."""
_SETTLED_S = 0.05
"""Removals come with the engine's next steps."""
_RESULTS = os.environ.get("KVGATE_PRECISE_RESULTS")
"""A folder where the differences are left as JSON."""


@dataclass
class Differences:
    """Predicted less real cached tokens, of each request.

    Attributes:
        lost: requests of a conversation that found less of its last prompt than was cached then: it was evicted, or the
            conversation moved.
    """

    name: str
    seen: Counter[int] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    lost: int = 0

    def add(self, what: str, predicted: int, usage: dict[str, Any], before_tokens: int, block_size: int) -> None:
        """
        Args:
            before_tokens: of the conversation's last prompt.
        """
        prompt, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
        self.seen[predicted - cached] += 1
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        self.lost += cached < before_tokens // block_size * block_size
        if predicted != cached:
            self.told.append(f"{self.name}: {what}: predicted {predicted}, cached {cached} of {prompt}")

    @property
    def equal_share(self) -> float:
        return self.seen[0] / self.seen.total()

    def tell(self, precise: str) -> None:
        """Prints the distribution, and leaves it as JSON if there is a place for that."""
        rows = [f"{difference:>8} | {count}" for difference, count in sorted(self.seen.items())]
        print(
            f"\n{self.name}: {self.seen.total()} requests, {self.prompt_tokens} prompt tokens, {self.cached_tokens} of"
        )
        print(f"them cached; {self.lost} found evicted what they had; {self.equal_share:.2%} predicted exactly")
        print("predicted - cached | requests", *rows, *self.told, precise, sep="\n")
        if _RESULTS:
            counted = {str(difference): count for difference, count in sorted(self.seen.items())}
            content = {"requests": self.seen.total(), "equal_share": self.equal_share, "differences": counted}
            content |= {"prompt_tokens": self.prompt_tokens, "cached_tokens": self.cached_tokens, "evicted": self.lost}
            path = Path(_RESULTS) / f"{self.name.replace(' ', '-')}.json"
            path.write_text(json.dumps(content, indent=1) + "\n")


class Talk:
    """Conversations with a gateway, each of whose answers is compared."""

    def __init__(self, gateway: Gateway, differences: Differences, block_size: int) -> None:
        self._gateway = gateway
        self._differences = differences
        self._block_size = block_size
        self._before: dict[int, tuple[int, str]] = {}  # prompt tokens and replica of each conversation's last turn

    async def turn(self, conversation: Conversation) -> None:
        async with self._gateway.post(conversation.ask(self._gateway.model)) as response:
            answer = await response.json()
            assert response.status == 200, answer
            predicted = int(response.headers["x-kvgate-predicted-cached-tokens"])
            replica = response.headers["x-kvgate-replica"]
        before_tokens, home = self._before.get(conversation.seed, (0, "nobody"))
        what = f"{conversation.seed}/{len(conversation.messages)} at {replica} after {home}"
        self._differences.add(what, predicted, answer["usage"], before_tokens, self._block_size)
        self._before[conversation.seed] = answer["usage"]["prompt_tokens"], replica
        conversation.heard(answer["choices"][0]["message"]["content"])


async def test_predictions_are_what_the_engines_had_cached(engines: Sequence[Engine]) -> None:
    one_by_one, at_once = Differences("one by one"), Differences("4 at once")
    async with in_front_of(engines, precise=True) as gateway:
        talk = Talk(gateway, one_by_one, engines[0].block_size)
        chance, alive = random.Random(1), list(conversations(0, 24, most_words=1000))
        for _ in range(100):
            await talk.turn(chance.choice(alive))
            await asyncio.sleep(_SETTLED_S)
        talk = Talk(gateway, at_once, engines[0].block_size)
        queue = list(conversations(1000, 16, most_words=400))

        async def client() -> None:
            while queue:
                conversation = queue.pop()
                for _ in range(6):
                    await talk.turn(conversation)

        await asyncio.gather(*(client() for _ in range(4)))
        page = await precise_page(gateway)
    one_by_one.tell("")
    at_once.tell(page)
    both = one_by_one.seen + at_once.seen
    assert one_by_one.lost >= 5, "too little was evicted"
    assert both[0] >= _EQUAL_SHARE * both.total(), "\n".join(one_by_one.told + at_once.told)


async def test_an_image_that_ends_in_no_full_block_is_known_by_the_engines_count(engines: Sequence[Engine]) -> None:
    async with in_front_of(engines, precise=True) as gateway:
        differences = []
        for _ in range(3):
            answer = await gateway.chat(image_part(7, 300), "?")
            usage = (await answer.json())["usage"]
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            differences.append(int(answer.headers["x-kvgate-predicted-cached-tokens"]) - cached)
        assert differences == [0, 0, 0]


async def test_predictions_count_what_lmcache_brings_back(offloading: Offloading) -> None:
    differences = Differences("with LMCache")
    provider = {"host_cache_tokens": 500_000, "kv_domain": "node"}
    before = sum([await external_hits(engine) for engine in offloading.engines])
    async with in_front_of(offloading.engines, precise=True, provider=provider) as gateway:
        talk = Talk(gateway, differences, offloading.engines[0].block_size)
        chance, alive = random.Random(2), list(conversations(5000, 16, most_words=1200))
        for _ in range(70):
            await talk.turn(min(chance.sample(alive, 2), key=lambda each: len(each.messages)))
            await asyncio.sleep(2 * _SETTLED_S)
        page = await precise_page(gateway)
    restored = sum([await external_hits(engine) for engine in offloading.engines]) - before
    differences.tell(f"{page}\nLMCache brought back {restored:.0f} tokens")
    assert restored > 0
    assert differences.seen[0] >= _EQUAL_SHARE_WITH_A_TIER * differences.seen.total(), "\n".join(differences.told)


async def external_hits(engine: Engine) -> float:
    """Tokens that its connector has brought it."""
    return (await engine.metrics()).get("vllm:external_prefix_cache_hits_total", 0.0)


async def precise_page(gateway: Gateway) -> str:
    """What the gateway says of its precise mode."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    told = ("kvgate_kv_events", "kvgate_prompts_tokenised")
    return "\n".join(line for line in lines if line.startswith(told) and not line.endswith(" 0"))

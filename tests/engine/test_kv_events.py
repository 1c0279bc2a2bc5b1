"""What a real vLLM and a real LMCache report, against what they then do: what is predicted is what they had cached."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from extproc.clock import MonotonicClock
from extproc.config.topology import KvFeed
from extproc.fleet.blocks import BlockEvent, ReportedBlocks
from extproc.fleet.feeds.kv_events import KvEvents
from extproc.fleet.kv_events import HOST
from extproc.prefix.exact import ExactPrompt, MediaRun
from extproc.prefix.media_runs import MediaRuns
from tests.engine.conftest import Offloading
from tests.engine.engines import TOPIC, Engine
from tests.envoy.media import image_part

WORDS = "A gateway remembers which of its replicas has read which story, and sends the next chapter there. "
_WITHIN_S = 30.0
_SETTLED_S = 0.3
"""Events of what a request stored come with the engine's next steps."""


class Follower:
    """Feeds of engines, folded."""

    def __init__(self) -> None:
        self.runs = MediaRuns()
        self.blocks = ReportedBlocks(self.runs)
        self.faults: Counter[str] = Counter()

    def take(self, event: BlockEvent) -> None:
        self.blocks.apply(event)

    def count(self, _: str, kind: str) -> None:
        self.faults[kind] += 1

    async def until(self, replica: str, state: str) -> None:
        deadline_s = asyncio.get_running_loop().time() + _WITHIN_S
        while self.blocks.state(replica) != state:
            assert asyncio.get_running_loop().time() < deadline_s, f"{replica} is {self.blocks.state(replica)}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def following(*engines: Engine, idle_s: float = 5.0) -> AsyncIterator[Follower]:
    follower = Follower()
    feeds = {engine.name: KvFeed(engine.events_url, engine.replay_url, TOPIC) for engine in engines}
    subscriber = KvEvents(lambda: feeds, follower.take, MonotonicClock(), follower.count, idle_s=idle_s)
    task = asyncio.create_task(subscriber.run())
    try:
        for engine in engines:
            await follower.until(engine.name, "whole")
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(engine: Engine, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(engine.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def send() -> dict[str, Any]:
        with urllib.request.urlopen(request, timeout=120) as reply:
            content: dict[str, Any] = json.load(reply)
            return content

    return await asyncio.to_thread(send)


def chat(engine: Engine, topic: int, *, images: Sequence[int] = (), words: int = 20, **fields: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [image_part(number, 300) for number in images]
    content.append({"type": "text", "text": f"Chapter {topic}. " + WORDS * words})
    system = {"role": "system", "content": f"Story {topic}. " + WORDS * words}
    messages = [system, {"role": "user", "content": content}]
    return {"model": engine.model, "messages": messages, "max_tokens": 4, **fields}


async def exact(engine: Engine, body: dict[str, Any]) -> ExactPrompt:
    """The prompt as the engine itself renders it."""
    rendered = await ask(engine, "/v1/chat/completions/render", {**body, "mm_payload": "none"})
    features = rendered.get("features") or {}
    names = (features.get("mm_hashes") or {}).get("image", [])
    places = (features.get("mm_placeholders") or {}).get("image", [])
    media = tuple(MediaRun(at["offset"], at["length"], name) for name, at in zip(names, places, strict=True))
    return ExactPrompt(array("I", rendered["token_ids"]), media, "", body.get("cache_salt", ""))


async def serve(engine: Engine, body: dict[str, Any]) -> int:
    """Tokens that the engine had cached."""
    usage = (await ask(engine, "/v1/chat/completions", body))["usage"]
    await asyncio.sleep(_SETTLED_S)
    return int((usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0)


def workload(engine: Engine, requests: int) -> Iterator[dict[str, Any]]:
    """Texts, images and tenants that come back, more of them than fit in 160 blocks."""
    for number in range(requests):
        topic = number * 7 % 12
        salt = {"cache_salt": f"tenant {topic}"} if topic % 5 == 4 else {}
        yield chat(engine, topic, images=[topic] if topic % 3 == 0 else [], words=10 + 10 * (number % 4), **salt)


async def test_what_is_predicted_is_what_the_engine_had_cached(engines: Sequence[Engine]) -> None:
    engine = engines[0]
    differences: Counter[int] = Counter()
    async with following(engine) as follower:
        for body in workload(engine, 48):
            prompt = await exact(engine, body)
            predicted = follower.blocks.look_up(prompt).tokens.get(engine.name, 0)
            differences[predicted - await serve(engine, body)] += 1
        assert not follower.faults
        assert not follower.blocks.faults
    assert differences == {0: 48}


async def test_the_run_of_an_image_is_learned(engines: Sequence[Engine]) -> None:
    engine = engines[0]
    async with following(engine) as follower:
        body = chat(engine, 50, images=[50])
        prompt = await exact(engine, body)
        await serve(engine, body)
        (run,) = prompt.media
        learned = follower.runs.length(run.identifier, (0, 0), "")
        assert learned == prompt.ids[run.start : run.start + run.length]


async def test_a_feed_that_begins_late_is_whole(engines: Sequence[Engine]) -> None:
    engine = engines[0]
    body = chat(engine, 60, images=[60])
    await serve(engine, body)
    async with following(engine) as follower:
        predicted = follower.blocks.look_up(await exact(engine, body)).tokens.get(engine.name, 0)
        assert predicted == await serve(engine, body) > 0


async def test_a_killed_engine_comes_back_with_nothing(engines: Sequence[Engine]) -> None:
    engine = engines[0]
    body = chat(engine, 70)
    async with following(engine) as follower:
        await serve(engine, body)
        prompt = await exact(engine, body)
        assert follower.blocks.look_up(prompt).tokens
        engine.kill()
        await follower.until(engine.name, "down")
        await engine.start()
        await follower.until(engine.name, "whole")
        assert follower.faults["restart"] == 1
        assert not follower.blocks.look_up(prompt).tokens
        assert await serve(engine, body) == 0
        assert follower.blocks.look_up(prompt).tokens.get(engine.name, 0) == await serve(engine, body) > 0


async def test_neither_block_size_nor_hash_algorithm_matters() -> None:
    async with (
        Engine(
            name="upgraded",
            block_size=32,
            blocks=640,
            extra=("--prefix-caching-hash-algo", "sha256_cbor"),
            env={"VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"},
        ) as engine,
        following(engine) as follower,
    ):
        body = chat(engine, 80, images=[80])
        await serve(engine, body)
        predicted = follower.blocks.look_up(await exact(engine, body)).tokens.get(engine.name, 0)
        assert predicted == await serve(engine, body) > 0
        assert follower.blocks.block_size(engine.name) == 32


async def test_what_an_engine_evicted_is_found_behind_both(offloading: Offloading) -> None:
    first, second = offloading.engines
    async with following(first, second) as follower:
        for engine in (first, second):
            follower.blocks.set_domain(engine.name, "node")
        body = chat(first, 90, images=[90], words=40)
        prompt = await exact(first, body)
        await serve(first, body)
        for topic in range(91, 99):
            await serve(first, chat(first, topic, words=80))
        found = follower.blocks.look_up(prompt)
        assert found.tokens.get(first.name, 0) < found.behind[first.name] == found.behind[second.name]
        assert found.behind[first.name] == await serve(second, body)
        assert follower.blocks.unplaced_blocks(first.name, HOST) == 0

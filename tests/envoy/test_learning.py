"""What the gateway learns while it serves: from usage, from engines' metrics, from a file that changes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from extproc.sim import EngineSettings, SimSettings, start
from tests.envoy.gateway import Gateway, until

KV_TOKENS = 64_000

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lone() -> AsyncIterator[Gateway]:
    """One replica, so that all that is asked is asked there."""
    async with Gateway(replicas=1, provider={"kv_tokens": KV_TOKENS}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Gateway]:
    async with Gateway(provider={"kv_tokens": KV_TOKENS}, routing={"strategy": "round_robin"}) as running:
        yield running


def story(topic: str) -> str:
    return f"A long story about {topic}, told once more from the beginning. " * 200


async def ask(gateway: Gateway, text: str) -> tuple[int, int]:
    """Prompt tokens that were predicted to be cached, and that were."""
    answer = await gateway.chat(text)
    assert answer.status == 200
    usage = json.loads(await answer.text())["usage"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return int(answer.headers["x-kvgate-predicted-cached-tokens"]), cached


async def predicted(gateway: Gateway, text: str) -> int:
    """Prompt tokens that would be predicted to be cached; asks the gateway and no replica."""
    content = [{"type": "text", "text": text}]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
    async with gateway.http.post(f"{gateway.operations_url}/admin/explain", data=io.BytesIO(body)) as response:
        receipt = (await response.json())["receipt"]
        return int(receipt["replicas"][0]["matched_tokens"])


async def metric(gateway: Gateway, name: str, **labels: str) -> float:
    """The value of one series; 0 if there is none."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        found = [
            each.value for family in families for each in family.samples if (each.name, each.labels) == (name, labels)
        ]
    return sum(found)


async def until_metric(gateway: Gateway, name: str, at_least: float, **labels: str) -> None:
    async def enough() -> bool:
        return await metric(gateway, name, **labels) >= at_least

    await until(enough, lambda: f"{name} {labels}:\n{gateway.log[-4000:]}")


async def until_predicted(gateway: Gateway, text: str, some: bool) -> None:
    """Waits until something, or nothing, of a prompt is expected to be cached: usage comes by the access log."""

    async def so() -> bool:
        return bool(await predicted(gateway, text)) is some

    await until(so, lambda: f"{text[:40]!r}:\n{gateway.log[-4000:]}")


async def test_predictions_recover_from_usage_after_a_cache_was_cleared_behind_the_gateways_back(lone: Gateway) -> None:
    older, younger = story("an older prompt"), story("a younger prompt")
    for text in (older, younger):
        await ask(lone, text)
        await until_predicted(lone, text, True)
    trimmed = await metric(lone, "kvgate_routing_trimmed_tokens_total", model="m")

    async def cleared() -> bool:
        async with lone.http.post(f"{lone.replicas['r0']}/reset_prefix_cache") as response:
            return bool((await response.json())["success"])

    await until(cleared, lambda: "the engine never was idle")
    believed, cached = await ask(lone, younger)
    assert believed > 1000
    assert cached == 0
    await until_predicted(lone, older, False)  # what was used before it is gone as well
    await until_predicted(lone, younger, True)  # it was computed anew
    assert await metric(lone, "kvgate_routing_trimmed_tokens_total", model="m") > trimmed
    believed, cached = await ask(lone, younger)
    assert believed == pytest.approx(cached, rel=0.3)


async def test_what_engines_tell_of_their_cache_is_known(fleet: Gateway) -> None:
    for name in fleet.replicas:
        await until_metric(fleet, "kvgate_replica_capacity_tokens", KV_TOKENS, replica=name)
        assert await metric(fleet, "kvgate_replica_capacity_tokens", replica=name) == KV_TOKENS


async def test_decisions_are_counted_by_provider(lone: Gateway) -> None:
    await ask(lone, "hello")
    await until_metric(lone, "kvgate_routing_decisions_total", 1, model="m", provider="sims", upstream_model="m")


async def test_replicas_whose_metrics_cannot_be_read_serve_and_each_fault_is_counted(fleet: Gateway) -> None:
    modes = {"metrics_garbled": "malformed", "metrics_hang": "timeout", "metrics_huge": "too large"}
    for name, mode in zip(fleet.replicas, modes, strict=True):
        await fleet.fault(name, mode=mode)
    for kind in modes.values():
        await until_metric(fleet, "kvgate_faults_total", 1, kind=f"metrics: {kind}")
    answers = [await fleet.chat(f"{number}") for number in range(6)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["x-kvgate-replica"] for answer in answers} == set(fleet.replicas)
    for name in fleet.replicas:
        await fleet.fault(name, mode="ok")
        await fleet.until_logged(f"replica {name}: metrics are read again")


@contextlib.asynccontextmanager
async def engines(gateway: Gateway) -> AsyncIterator[None]:
    """Replicas that do not end with the name that the gateway calls them by."""
    async with contextlib.AsyncExitStack() as stack:
        for name, url in gateway.replicas.items():
            engine = EngineSettings(decode_tokens_per_s=100.0, prefill_tokens_per_s=50_000.0)
            port = int(url.rsplit(":", 1)[1])
            await stack.enter_async_context(await start(SimSettings(name, port=port, models=("m",), engine=engine)))
        yield


async def stream(gateway: Gateway, text: str, begun: asyncio.Event) -> str:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 300}
    async with gateway.http.post("/v1/chat/completions", json={**body, "stream": True}) as response:
        assert response.status == 200
        await response.content.readany()
        begun.set()
        return await response.text()


async def test_a_replica_that_is_renamed_while_it_serves_loses_no_request() -> None:
    gateway = Gateway(replicas=2, provider={"type": "openai_compatible"})
    async with engines(gateway), gateway:
        begun = [asyncio.Event() for _ in range(8)]
        streams = [asyncio.create_task(stream(gateway, story(f"topic {n}"), event)) for n, event in enumerate(begun)]
        for event in begun:
            await event.wait()
        gateway.config["providers"][0]["replicas"][0]["name"] = "renamed"
        gateway.write_config()
        await gateway.until_logged("configuration reloaded; replicas: ")
        await gateway.until_logged("replica renamed serves")
        assert not any(task.done() for task in streams)
        assert all(text.rstrip().endswith("data: [DONE]") for text in await asyncio.gather(*streams))

        await until(gateway.counts_no_request, lambda: gateway.log[-4000:])
        again = [await gateway.chat(story(f"topic {n}")) for n in range(8)]
        assert {answer.status for answer in again} == {200}
        assert {answer.headers["x-kvgate-replica"] for answer in again} == {"renamed", "r1"}
        assert all(int(answer.headers["x-kvgate-predicted-cached-tokens"]) > 1000 for answer in again)

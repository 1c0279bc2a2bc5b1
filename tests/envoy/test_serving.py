"""What an application sees: OpenAI's API, through the official SDK, served by whoever is warm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.gateway import Gateway
from tests.envoy.media import image_part

STORY = "Once upon a time there was a gateway that remembered. " * 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Gateway]:
    async with Gateway() as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_sdk_gets_a_blocking_answer(shared: Gateway) -> None:
    answer = await shared.openai.chat.completions.create(
        model="m", max_tokens=5, messages=[{"role": "user", "content": "Hello"}]
    )
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens == 5


async def test_the_sdk_gets_a_stream(shared: Gateway) -> None:
    stream = await shared.openai.chat.completions.create(
        model="m",
        max_tokens=5,
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) == 5
    assert chunks[-1].usage


async def test_the_sdk_lists_models(shared: Gateway) -> None:
    assert [model.id async for model in shared.openai.models.list()] == ["m"]
    assert (await shared.openai.models.retrieve("m")).id == "m"


async def test_the_responses_api_is_served(shared: Gateway) -> None:
    answer = await shared.openai.responses.create(model="m", input="Hello", max_output_tokens=4)
    assert answer.output_text


async def test_completions_and_embeddings_are_served(shared: Gateway) -> None:
    completion = await shared.openai.completions.create(model="m", prompt="Hello", max_tokens=3)
    assert completion.choices[0].text
    embedding = await shared.openai.embeddings.create(model="m", input=["Hello", "you"])
    assert len(embedding.data) == 2


async def test_anthropic_messages_are_served(shared: Gateway) -> None:
    body = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    async with shared.http.post("/v1/messages", json=body) as response:
        assert (await response.json())["content"][0]["text"]


async def test_the_second_turn_of_a_conversation_is_warm(shared: Gateway) -> None:
    first = await shared.chat(STORY + "first")
    again = await shared.chat(STORY + "first", "And then?")
    assert first.headers["x-kvgate-replica"] == again.headers["x-kvgate-replica"]
    assert int(again.headers["x-kvgate-predicted-cached-tokens"]) > 300
    usage = json.loads(await again.text())["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 300


async def test_an_image_is_warm_where_it_was_seen_first_whatever_stands_around_it(shared: Gateway) -> None:
    homes = {}
    for seed in range(6):
        homes[seed] = (await shared.chat(image_part(seed, 560), "What is this?")).headers["x-kvgate-replica"]
    assert set(homes.values()) == set(shared.replicas)
    for seed, home in homes.items():
        again = await shared.chat(image_part(seed, 560), "And what colour is it?")
        assert again.headers["x-kvgate-replica"] == home
        assert json.loads(await again.text())["usage"]["prompt_tokens_details"]["cached_tokens"] >= 384


async def test_a_body_reaches_the_engine_byte_for_byte(shared: Gateway) -> None:
    body = (
        b'{ "model":"m", "messages" : [{"role":"user","content":"\\u00e9\xc3\xa9 hi"}],"max_tokens":1,'
        b'"unknown_field": {"big":123456789012345678901234567890, "float": 1.10}, "tools": [] }'
    )
    headers = {"content-type": "application/json", "x-request-id": "byte-for-byte"}
    async with shared.http.post("/v1/chat/completions", data=body, headers=headers) as response:
        assert response.status == 200
        replica = response.headers["x-kvgate-replica"]
    state = await shared.sim_state(replica)
    seen = next(entry for entry in state["requests"] if entry["request_id"] == "byte-for-byte")
    assert seen["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert not [name for name in seen["headers"] if name.startswith(("x-kvgate", "x-gateway"))]


async def test_a_client_cannot_choose_its_replica(shared: Gateway) -> None:
    headers = {"x-kvgate-cluster": "nowhere", "x-gateway-destination-endpoint": "127.0.0.1:1", "x-kvgate-replica": "x"}
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
    async with shared.http.post("/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200
        assert response.headers["x-kvgate-replica"] in shared.replicas


async def test_health_and_readiness(shared: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        async with shared.http.get(path) as response:
            assert response.status == 200


async def test_every_answer_has_a_request_id(shared: Gateway) -> None:
    for path in ("/v1/models", "/nope", "/healthz"):
        async with shared.http.get(path) as response:
            assert response.headers["x-request-id"]


async def test_a_decision_is_explained_in_the_log(shared: Gateway) -> None:
    await shared.chat("Explain yourself.", user="x")
    await shared.until_logged("prefix_kv_aware/spread prompt=")

"""Over HTTP a replica looks like vLLM to a client, a scraper and a proxy."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from extproc.sim import EngineSettings, RunningSim
from tests.unit.sim.pictures import image_part, picture, user
from tests.unit.sim.wire import INSTANT, SLOW, chat, events, eventually, launch, post, state

LONG = "a prefix that many requests share " * 20


def sdk(sim: RunningSim) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=sim.url + "/v1", api_key="none", max_retries=0)


async def test_the_openai_sdk_gets_a_chat_completion(sim: RunningSim) -> None:
    async with sdk(sim) as client:
        reply = await client.chat.completions.create(**chat(LONG, max_tokens=5))
        assert reply.choices[0].finish_reason == "length"
        assert len((reply.choices[0].message.content or "").split()) == 5
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 5


async def test_the_openai_sdk_streams_a_chat_completion(sim: RunningSim) -> None:
    async with sdk(sim) as client:
        whole = await client.chat.completions.create(**chat(LONG, max_tokens=5))
        stream = await client.chat.completions.create(
            **chat(LONG, max_tokens=5), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == (whole.usage and whole.usage.prompt_tokens)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_openai_sdk_gets_completions_responses_and_embeddings(sim: RunningSim) -> None:
    async with sdk(sim) as client:
        completion = await client.completions.create(model="m", prompt=["one two", "three"], max_tokens=2, n=2)
        assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
        response = await client.responses.create(model="m", input="hello", max_output_tokens=3)
        assert len(response.output_text.split()) == 3
        assert response.status == "incomplete"
        embeddings = await client.embeddings.create(model="m", input=["a", "b", "a"], dimensions=8)
        vectors = [tuple(item.embedding) for item in embeddings.data]
        assert vectors[0] == vectors[2] != vectors[1]
        assert sum(value * value for value in vectors[0]) == pytest.approx(1.0, abs=1e-5)


async def test_the_openai_sdk_streams_responses(sim: RunningSim) -> None:
    async with sdk(sim) as client:
        stream = await client.responses.create(model="m", input="hello", max_output_tokens=3, stream=True)
        seen = [event async for event in stream]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert [event.type for event in seen][:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    last = seen[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "".join(e.delta for e in seen if e.type == "response.output_text.delta")
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 3


async def test_anthropics_messages_are_answered_in_their_shape(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    body = {"model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    status, whole = await post(http, sim, "/v1/messages", body)
    assert (status, whole["type"], whole["role"], whole["stop_reason"]) == (200, "message", "assistant", "max_tokens")
    streamed = await events(http, sim, "/v1/messages", body)
    assert [event["type"] for event in streamed] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    text = "".join(event["delta"]["text"] for event in streamed if event["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"]
    assert streamed[-2]["usage"]["output_tokens"] == 3


async def test_anthropics_errors_have_their_shape(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    status, error = await post(http, sim, "/v1/messages", {"model": "m", "messages": []})
    assert (status, error["type"]) == (400, "error")
    assert error["error"].keys() == {"type", "message"}


async def test_the_second_identical_request_is_cached(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    cached = []
    for _ in range(2):
        _, reply = await post(http, sim, "/v1/chat/completions", chat(LONG))
        usage = reply["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    assert cached == [0, (usage["prompt_tokens"] - 1) // 4 * 4]


async def test_a_conversation_reuses_its_prompt_and_its_reply(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    body = chat(LONG, max_tokens=20)
    _, first = await post(http, sim, "/v1/chat/completions", body)
    body["messages"] += [first["choices"][0]["message"], {"role": "user", "content": "go on"}]
    _, second = await post(http, sim, "/v1/chat/completions", body)
    known = first["usage"]["prompt_tokens"] + 19
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == known // 4 * 4


@pytest.mark.parametrize("difference", [{"cache_salt": "tenant"}, {"model": "adapter"}])
async def test_salt_and_lora_keep_caches_apart(http: aiohttp.ClientSession, difference: dict[str, str]) -> None:
    async with await launch(loras=("adapter",)) as sim:
        await post(http, sim, "/v1/chat/completions", chat(LONG))
        cached = []
        for _ in range(2):
            _, reply = await post(http, sim, "/v1/chat/completions", chat(LONG) | difference)
            cached.append(reply["usage"]["prompt_tokens_details"]["cached_tokens"])
        assert cached[0] == 0 < cached[1]


async def test_choices_of_one_call_differ_and_their_prompt_counts_once(
    http: aiohttp.ClientSession, sim: RunningSim
) -> None:
    _, one = await post(http, sim, "/v1/chat/completions", chat(LONG, max_tokens=4))
    _, three = await post(http, sim, "/v1/chat/completions", chat(LONG, max_tokens=4, n=3))
    assert len({choice["message"]["content"] for choice in three["choices"]}) == 3
    assert three["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert three["usage"]["completion_tokens"] == 12
    streamed = await events(http, sim, "/v1/chat/completions", chat(LONG, max_tokens=4, n=3))
    texts = ["", "", ""]
    for event in streamed[:-1]:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == [choice["message"]["content"] for choice in three["choices"]]
    assert streamed[-1] == {"done": True}


async def test_without_a_limit_a_reply_stops_by_itself(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    _, reply = await post(http, sim, "/v1/chat/completions", chat())
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] == 16


async def test_stream_headers_arrive_before_the_first_token(http: aiohttp.ClientSession) -> None:
    async with (
        await launch(EngineSettings(prefill_tokens_per_s=1.0), shutdown_grace_s=0.01) as sim,
        http.post(sim.url + "/v1/chat/completions", json=chat("x", stream=True)) as reply,
    ):
        assert reply.status == 200
        assert sim.replica.engine.stats.generation_tokens == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", chat(model="other"), 404),
        ("/v1/chat/completions", chat(max_tokens=0), 400),
        ("/v1/chat/completions", chat(max_tokens=10**9), 400),
        ("/v1/chat/completions", chat(n=1000), 400),
        ("/v1/chat/completions", user(image_part(b"junk")), 400),
        ("/v1/embeddings", {"input": "x", "stream": True}, 400),
        ("/v1/responses", {"input": "x", "previous_response_id": "resp_1"}, 404),
    ],
)
async def test_what_vllm_refuses_is_refused_in_its_shape(
    http: aiohttp.ClientSession, sim: RunningSim, path: str, body: Any, status: int
) -> None:
    answered, error = await post(http, sim, path, body)
    assert answered == status
    assert error["error"].keys() == {"message", "type", "param", "code"}
    assert error["error"]["code"] == status


async def test_only_rank_zero_exists(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    assert (await post(http, sim, "/v1/chat/completions", chat(), X_data_parallel_rank="0"))[0] == 200
    assert (await post(http, sim, "/v1/chat/completions", chat(), X_data_parallel_rank="1"))[0] == 400


async def test_a_prompt_longer_than_the_context_is_a_400(http: aiohttp.ClientSession) -> None:
    async with await launch(max_model_tokens=50) as sim:
        assert (await post(http, sim, "/v1/chat/completions", chat("word " * 20)))[0] == 200
        status, error = await post(http, sim, "/v1/chat/completions", chat("word " * 100))
        assert status == 400
        assert "maximum context length is 50 tokens" in error["error"]["message"]


async def test_state_proves_what_arrived(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    content = orjson.dumps(
        user(image_part(picture()), image_part(picture(color=9), uuid="mine")), option=orjson.OPT_INDENT_2
    )
    _, reply = await post(http, sim, "/v1/chat/completions?x=1", content, X_Request_Id="abc", X_Tenant="t")
    assert reply["id"] == "chatcmpl-abc"
    seen = await state(http, sim)
    (request,) = seen["requests"]
    assert request["body_sha256"] == hashlib.sha256(content).hexdigest()
    assert request["headers"]["x-tenant"] == "t"
    assert (request["request_id"], request["path"]) == ("abc", "/v1/chat/completions?x=1")
    assert request["prompt_tokens"] == reply["usage"]["prompt_tokens"]
    assert (len(request["media"]), request["media"][1]) == (2, "mine")
    assert (seen["served"], seen["by_endpoint"]) == (1, {"/v1/chat/completions": 1})


async def test_a_client_that_leaves_is_aborted_in_the_engine(http: aiohttp.ClientSession, slow_sim: RunningSim) -> None:
    engine = slow_sim.replica.engine
    async with http.post(slow_sim.url + "/v1/chat/completions", json=chat(max_tokens=5000, stream=True)) as reply:
        await reply.content.readany()
        assert engine.stats.running == 1
        reply.close()
        await eventually(lambda: not engine.busy)
    blocking = asyncio.create_task(post(http, slow_sim, "/v1/chat/completions", chat(max_tokens=5000)))
    await eventually(lambda: engine.busy)
    blocking.cancel()
    await eventually(lambda: not engine.busy)
    await eventually(lambda: slow_sim.replica.journal.by_outcome["aborted"] == 2)
    assert engine.cache.used == 0


async def test_concurrent_streams_are_batched_in_real_time(http: aiohttp.ClientSession, slow_sim: RunningSim) -> None:
    started = asyncio.get_running_loop().time()
    calls = [post(http, slow_sim, "/v1/chat/completions", chat(f"request {i}", max_tokens=40)) for i in range(8)]
    replies = await asyncio.gather(*calls)
    elapsed_s = asyncio.get_running_loop().time() - started
    assert {status for status, _ in replies} == {200}
    assert 0.19 < elapsed_s < 8 * 0.2 / 2


async def test_latency_is_added_before_the_engine(http: aiohttp.ClientSession) -> None:
    async with await launch(latency_s=0.05) as sim:
        started = asyncio.get_running_loop().time()
        await post(http, sim, "/v1/chat/completions", chat())
        assert asyncio.get_running_loop().time() - started >= 0.05


async def test_a_body_of_twenty_megabytes_is_served(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    body = orjson.dumps(user(image_part(picture(1024, 1024) + bytes(15_000_000))))
    assert len(body) > 20_000_000
    status, reply = await post(http, sim, "/v1/chat/completions", body)
    assert status == 200
    assert reply["usage"]["prompt_tokens_details"]["multimodal_tokens"] == 1369
    assert (await state(http, sim))["requests"][0]["body_sha256"] == hashlib.sha256(body).hexdigest()


def samples(text: str) -> dict[str, float]:
    """Prometheus samples by name and labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z_:]+\{(?:[a-z_]+="[^"]*",?)+\}) ([0-9.e+-]+)', line)
            assert match, line
            found[match[1]] = float(match[2])
    return found


async def test_metrics_speak_vllms_names(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    for _ in range(2):
        _, reply = await post(http, sim, "/v1/chat/completions", chat(LONG, max_tokens=3))
    async with http.get(sim.url + "/metrics") as answer:
        found = samples(await answer.text())
    labels = 'engine="0",model_name="m"'
    prompt_tokens = reply["usage"]["prompt_tokens"]
    expected = {
        "num_requests_running": 0,
        "num_requests_waiting": 0,
        "kv_cache_usage_perc": 0,
        "prefix_cache_queries_total": 2 * prompt_tokens,
        "prefix_cache_hits_total": reply["usage"]["prompt_tokens_details"]["cached_tokens"],
        "prompt_tokens_total": 2 * prompt_tokens,
        "generation_tokens_total": 6,
        "time_to_first_token_seconds_count": 2,
    }
    assert {name: found[f"vllm:{name}{{{labels}}}"] for name in expected} == expected
    assert found[f'vllm:time_to_first_token_seconds_bucket{{{labels},le="+Inf"}}'] == 2
    (config,) = [name for name in found if name.startswith("vllm:cache_config_info")]
    assert 'block_size="4"' in config
    assert f'num_gpu_blocks="{INSTANT.kv_blocks}"' in config


async def test_load_is_reported_with_the_reply_when_asked(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    for asked, expected in (("JSON", 'JSON {"named_metrics":'), ("TEXT", "TEXT named_metrics."), ("", None)):
        headers = {"endpoint-load-metrics-format": asked}
        async with http.post(sim.url + "/v1/chat/completions", json=chat(), headers=headers) as reply:
            load = reply.headers.get("endpoint-load-metrics")
            assert load is None if expected is None else load and load.startswith(expected)


async def test_models_health_and_tokenize(http: aiohttp.ClientSession) -> None:
    async with await launch(models=("m", "alias"), loras=("adapter",)) as sim:
        async with http.get(sim.url + "/v1/models") as reply:
            cards = (await reply.json())["data"]
        assert [(card["id"], card["parent"]) for card in cards] == [("m", None), ("alias", None), ("adapter", "m")]
        async with http.get(sim.url + "/health") as reply:
            assert (reply.status, await reply.read()) == (200, b"")
        _, answer = await post(http, sim, "/v1/chat/completions", chat(LONG))
        _, counted = await post(http, sim, "/tokenize", chat(LONG))
        assert counted["count"] == len(counted["tokens"]) == answer["usage"]["prompt_tokens"]
        assert (await post(http, sim, "/tokenize", {"prompt": "hello"}))[1]["count"] == 2
        assert (await post(http, sim, "/tokenize", b"{"))[0] == 400


async def test_reset_makes_a_replica_cold(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await post(http, sim, "/v1/chat/completions", chat(LONG))
    assert (await state(http, sim))["cache"]["hashes"] > 0
    assert await post(http, sim, "/reset_prefix_cache", {}) == (200, {"success": True})
    _, reply = await post(http, sim, "/v1/chat/completions", chat(LONG))
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_two_replicas_share_nothing(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    async with await launch() as other:
        for replica in (sim, other):
            _, reply = await post(http, replica, "/v1/chat/completions", chat(LONG))
            assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_a_taken_port_is_an_error_at_once(sim: RunningSim) -> None:
    with pytest.raises(OSError, match="in use"):
        await launch(port=sim.port)


async def test_ttft_in_real_time_follows_the_model(http: aiohttp.ClientSession) -> None:
    async with await launch(EngineSettings(block_size=4, prefill_tokens_per_s=2000.0, step_overhead_s=0.0)) as sim:
        ttft_s = []
        for _ in range(2):
            started = asyncio.get_running_loop().time()
            _, reply = await post(http, sim, "/v1/chat/completions", chat(LONG, max_tokens=1))
            ttft_s.append(asyncio.get_running_loop().time() - started)
        cold_s = reply["usage"]["prompt_tokens"] / 2000
        assert ttft_s[0] >= cold_s * 0.99
        assert ttft_s[1] < cold_s


def test_slow_is_slow_enough_for_the_tests_above() -> None:
    assert SLOW.step_s(0, 1) == pytest.approx(0.005)

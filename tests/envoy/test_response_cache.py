"""An answer that was given before is given again, to whoever it may be given to and to nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.envoy.answers import (
    CHAT,
    ask,
    chat,
    fresh,
    measured,
    on_all,
    until_active,
    until_measured,
    until_up,
    until_upstream,
    upstream,
)
from tests.envoy.gateway import Gateway
from tests.envoy.media import image_part

MOST_BYTES = 20_000
KEYS = {name: f"sk-{name}" for name in ("acme", "beta", "left", "right", "poor", "slow")}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Gateway]:
    async with Gateway(
        provider={"tokens_per_second": 10_000},
        models=[{"name": "m", "deployments": [{"provider": "sims", "cost_per_1k_output": 0.01}]}],
        auth={"enabled": True, "api_keys": [{"key": key, "tenant": name} for name, key in KEYS.items()]},
        tenants=[
            {"name": "left", "cache_scope": "family"},
            {"name": "right", "cache_scope": "family"},
            {"name": "poor", "budget_usd": 0.0035},
            {"name": "slow", "tpm": 1000},
        ],
        ratelimit={"default_rpm": 1_000_000, "burst": 100_000},
        budget={"enabled": True},
        cache={"max_answer_bytes": MOST_BYTES},
    ) as running:
        running.http.headers["authorization"] = f"Bearer {KEYS['acme']}"
        yield running
        assert "Traceback" not in running.log
        assert "routed blind" not in running.log


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def caches(gateway: Gateway, *bodies: dict[str, Any], key: str = KEYS["acme"], **how: Any) -> list[str]:
    """Where the answers came from, asked for one after the other."""
    return [(await ask(gateway, body, key=key, **how)).cache for body in bodies]


# -- the answer ------------------------------------------------------------------------------------------------------


async def test_the_second_of_two_equal_requests_is_answered_from_the_cache(shared: Gateway) -> None:
    prompt, sdk, before = fresh(), shared.openai.with_options(api_key=KEYS["acme"]), await upstream(shared)
    answers = []
    for outcome in ("miss", "exact"):
        raw = await sdk.chat.completions.with_raw_response.create(**chat(prompt))
        answer = raw.parse()
        assert raw.headers["x-kvgate-cache"] == outcome
        assert answer.model_extra is not None
        about = answer.model_extra["kvgate"]
        assert about["cache"] == outcome
        assert about["latency_ms"] > 0
        answers.append(answer.model_copy(update={"kvgate": None}))
    assert answers[0] == answers[1]
    assert await upstream(shared) == before + 1


@pytest.mark.parametrize("stream_first", [True, False], ids=["streamed, then blocking", "blocking, then streamed"])
async def test_streamed_and_blocking_requests_share_an_entry(shared: Gateway, stream_first: bool) -> None:
    prompt = fresh()
    first = await ask(shared, chat(prompt, stream=stream_first), key=KEYS["acme"])
    second = await ask(shared, chat(prompt, stream=not stream_first), key=KEYS["acme"])
    assert (first.cache, second.cache) == ("miss", "exact")
    assert first.said == second.said != ""
    blocking = second if stream_first else first
    assert blocking.json["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("include_usage", [True, False], ids=["with usage", "without usage"])
async def test_a_replayed_stream_is_one_that_the_sdk_reads(shared: Gateway, include_usage: bool) -> None:
    prompt, sdk = fresh(), shared.openai.with_options(api_key=KEYS["acme"])
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    told = []
    for outcome in ("miss", "exact"):
        raw = await sdk.chat.completions.with_raw_response.create(**chat(prompt, n=2), stream=True, **options)
        assert raw.headers["x-kvgate-cache"] == outcome
        chunks = [chunk async for chunk in raw.parse()]
        texts, ids = Counter[int](), {chunk.id for chunk in chunks}
        reasons: dict[int, str | None] = {}
        for choice in (choice for chunk in chunks for choice in chunk.choices):
            texts[choice.index] += len(choice.delta.content or "")
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
        usage = [chunk.usage for chunk in chunks if chunk.usage]
        assert bool(usage) is include_usage
        told.append((texts, reasons, ids, usage[-1].total_tokens if usage else None))
    assert told[0] == told[1]
    assert set(told[0][1].values()) == {"length"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "once", "max_tokens": 4, "temperature": 0}),
        ("/v1/embeddings", {"input": ["once", "twice"]}),
        ("/v1/messages", {"max_tokens": 4, "temperature": 0, "messages": [{"role": "user", "content": "once"}]}),
        ("/v1/responses", {"input": "once", "max_output_tokens": 4, "temperature": 0, "store": False}),
    ],
)
async def test_every_endpoint_has_its_answers_kept(shared: Gateway, path: str, body: dict[str, Any]) -> None:
    body = {"model": "m", **body}
    first, second = [await ask(shared, body, key=KEYS["acme"], path=path) for _ in range(2)]
    assert (first.cache, second.cache) == ("miss", "exact"), first.text
    assert {**first.json, "kvgate": None} == {**second.json, "kvgate": None}
    if path != "/v1/embeddings":
        assert await caches(shared, {**body, "stream": True}, path=path) == ["exact"]


# -- which requests --------------------------------------------------------------------------------------------------


async def test_a_sampled_request_goes_past_the_cache_unless_it_has_a_seed(shared: Gateway) -> None:
    sampled, seeded = chat(fresh(), temperature=0.7), chat(fresh(), temperature=0.7, seed=1)
    assert await caches(shared, sampled, sampled, seeded, seeded) == ["bypass", "bypass", "miss", "exact"]


async def test_a_client_says_what_the_cache_may_do(shared: Gateway) -> None:
    body, sampled = chat(fresh()), chat(fresh(), temperature=0.7)
    assert await caches(shared, body, body, directives="no-store") == ["bypass", "bypass"]
    assert await caches(shared, body) == ["miss"]
    assert await caches(shared, body, directives="no-store") == ["bypass"]
    assert await caches(shared, body, directives="max-age=0") == ["miss"]
    assert await caches(shared, body, directives="max-age=60") == ["exact"]
    assert await caches(shared, body, directives="no-cache") == ["miss"]
    assert await caches(shared, body) == ["exact"]
    assert await caches(shared, sampled, sampled, directives="force") == ["miss", "exact"]


async def test_whatever_can_change_the_answer_makes_another_entry(shared: Gateway) -> None:
    text = fresh()
    same = chat([image_part(1), {"type": "text", "text": text}])
    others = [
        chat([image_part(2), {"type": "text", "text": text}]),
        chat([{"type": "text", "text": text}, image_part(1)]),
        chat([image_part(1), {"type": "text", "text": text}], seed=1),
        chat([image_part(1), {"type": "text", "text": text}], tools=[TOOL]),
        chat([image_part(1), {"type": "text", "text": text}], max_tokens=6),
    ]
    assert await caches(shared, same, *others) == ["miss"] * 6
    assert await caches(shared, same, *others) == ["exact"] * 6


async def test_tenants_share_answers_only_where_both_name_the_same_scope(shared: Gateway) -> None:
    body, found = chat(fresh()), {}
    for name in ("acme", "beta", "left", "right"):
        found[name] = await caches(shared, body, key=KEYS[name])
    assert found == {"acme": ["miss"], "beta": ["miss"], "left": ["miss"], "right": ["exact"]}


async def test_equal_requests_of_two_tenants_at_the_same_time_are_two_requests(shared: Gateway) -> None:
    body, before = chat(fresh(), max_tokens=200), await upstream(shared)
    await asyncio.gather(*(ask(shared, body, key=KEYS[name]) for name in ("acme", "beta") * 10))
    assert await upstream(shared) == before + 2


# -- what is kept ----------------------------------------------------------------------------------------------------


async def test_an_error_is_not_kept(shared: Gateway) -> None:
    body = chat(fresh())
    await on_all(shared, mode="error", status=500)
    assert (await ask(shared, body, key=KEYS["acme"])).status == 500
    await on_all(shared, mode="ok")
    assert await caches(shared, body, body) == ["miss", "exact"]


async def test_an_answer_that_is_kept_needs_no_replica(shared: Gateway) -> None:
    body = chat(fresh())
    first = await ask(shared, body, key=KEYS["acme"])
    await on_all(shared, mode="error", status=503)
    again = await ask(shared, body, key=KEYS["acme"])
    await on_all(shared, mode="ok")
    assert (first.cache, again.cache) == ("miss", "exact")


async def test_a_stream_that_was_cut_is_not_kept(shared: Gateway) -> None:
    body = chat(fresh(), stream=True, max_tokens=600)
    await on_all(shared, mode="reset_midstream", after_tokens=400)
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(shared, body, key=KEYS["acme"])
    await on_all(shared, mode="ok")
    assert await caches(shared, body, body) == ["miss", "exact"]


async def test_an_answer_that_is_too_large_is_not_kept(shared: Gateway) -> None:
    body = {"model": "m", "input": [f"{fresh()} {number}" for number in range(200)]}
    assert len((await ask(shared, body, key=KEYS["acme"], path="/v1/embeddings")).text) > MOST_BYTES
    assert await caches(shared, body, path="/v1/embeddings") == ["miss"]


# -- many at once ----------------------------------------------------------------------------------------------------


async def test_a_hundred_equal_requests_are_one_request_to_the_fleet(shared: Gateway) -> None:
    prompt, before = fresh(), await upstream(shared)
    bodies = [chat(prompt, stream=number % 2 == 0, max_tokens=100) for number in range(100)]
    got = await asyncio.gather(*(ask(shared, body, key=KEYS["acme"]) for body in bodies))
    assert len({each.said for each in got}) == 1
    assert Counter(each.cache for each in got) == {"miss": 1, "exact": 99}
    assert await upstream(shared) == before + 1


async def test_equal_requests_wait_longer_than_envoy_waits_for_the_processor(shared: Gateway) -> None:
    prompt, before = fresh(), await upstream(shared)
    bodies = [chat(prompt, stream=number % 2 == 0, max_tokens=28) for number in range(20)]
    await on_all(shared, mode="slow", factor=200)  # 0.2 s a token: 5.6 s, where `message_timeout` is 5 s
    got = await asyncio.gather(*(ask(shared, body, key=KEYS["acme"]) for body in bodies))
    await on_all(shared, mode="ok")
    assert Counter(each.cache for each in got) == {"miss": 1, "exact": 19}
    assert await upstream(shared) == before + 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "blocking"])
async def test_when_the_one_that_went_upstream_hangs_up_the_next_goes(shared: Gateway, stream: bool) -> None:
    prompt, before = fresh(), await upstream(shared)
    await on_all(shared, mode="slow", factor=4)  # 2 ms a token
    body = chat(prompt, stream=stream, max_tokens=200)
    leader = asyncio.create_task(ask(shared, body, key=KEYS["acme"]))
    await until_upstream(shared, before + 1)
    others = [asyncio.create_task(ask(shared, chat(prompt, max_tokens=200), key=KEYS["acme"])) for _ in range(10)]
    await until_active(shared, 11)
    leader.cancel()
    got = await asyncio.gather(*others)
    await on_all(shared, mode="ok")
    assert Counter(each.cache for each in got) == {"miss": 1, "exact": 9}
    assert await upstream(shared) == before + 2


async def test_when_the_replica_dies_the_next_goes_elsewhere(shared: Gateway) -> None:
    story = "There was a replica that knew this story. " * 60
    home = (await ask(shared, chat(story), key=KEYS["acme"])).headers["x-kvgate-replica"]
    await shared.fault(home, mode="die", after_tokens=400)
    bodies = [chat(story, stream=True, seed=7, max_tokens=600) for _ in range(20)]
    got = await asyncio.gather(*(ask(shared, body, key=KEYS["acme"]) for body in bodies), return_exceptions=True)
    cut = [each for each in got if isinstance(each, aiohttp.ClientPayloadError)]
    whole = [each for each in got if not isinstance(each, BaseException)]
    assert (len(cut), len(whole)) == (1, 19), got
    assert Counter(each.cache for each in whole) == {"miss": 1, "exact": 18}
    assert len({each.said for each in whole}) == 1
    await until_up(shared, home)


async def test_a_hit_is_not_taken_for_the_end_of_a_request_under_way_that_has_the_same_id(shared: Gateway) -> None:
    body, same_id = chat(fresh()), {"x-request-id": "the-same"}
    await ask(shared, body, key=KEYS["acme"])
    await until_measured(shared, "kvgate_inflight_requests", 0)
    await on_all(shared, mode="slow", factor=50)
    slow = chat(fresh(), stream=True, temperature=1, max_tokens=1000)
    async with shared.http.post(CHAT, json=slow, headers=same_id) as stream:
        await on_all(shared, mode="ok")
        async with shared.http.post(CHAT, json=body, headers=same_id) as hit:
            assert hit.headers["x-kvgate-cache"] == "exact"
        ended = await measured(shared, "kvgate_requests_total")
        await ask(shared, chat(fresh()), key=KEYS["acme"])  # its end is reported after that of the hit
        await until_measured(shared, "kvgate_requests_total", ended + 1)
        assert await measured(shared, "kvgate_inflight_requests") == 1
        stream.close()
    await until_measured(shared, "kvgate_inflight_requests", 0)


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_hits_count_neither_against_the_budget_nor_against_token_limits(shared: Gateway) -> None:
    for name, status in (("poor", 402), ("slow", 429)):
        key, body = KEYS[name], chat(fresh(), max_tokens=100)
        found = [await ask(shared, body, key=key) for _ in range(30)]
        assert [each.cache for each in found] == ["miss"] + ["exact"] * 29
        statuses = [(await ask(shared, chat(fresh(), max_tokens=100), key=key)).status for _ in range(10)]
        assert statuses[0] == 200
        assert statuses[-1] == status
        assert (await ask(shared, body, key=key)).status == status  # limits come before the cache

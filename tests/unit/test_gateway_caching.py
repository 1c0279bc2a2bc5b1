"""Replies that are kept on their way to the client, and given again."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse

from extproc.gateway.exchange import Exchange
from tests.unit.test_gateway_exchange import CHAT, Bench

ASKED: dict[str, Any] = {**CHAT, "temperature": 0}
USAGE = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
REPLY = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}
ON = {"enabled": True}


def bench(**sections: Any) -> Bench:
    return Bench(**{"cache": ON, **sections})


async def begin(on: Bench, body: Any = ASKED, **headers: str) -> tuple[Exchange, ProcessingResponse]:
    exchange = on.gateway.open()
    await on.headers(exchange, more={key.replace("_", "-"): value for key, value in headers.items()})
    return exchange, await on.body(exchange, body)


async def respond(exchange: Exchange, body: bytes, *, status: str = "200", end: bool = True, **headers: str) -> None:
    """The replica's reply, in two chunks."""
    message = ProcessingRequest()
    for key, value in {":status": status, **headers}.items():
        message.response_headers.headers.headers.add(key=key.replace("_", "-"), raw_value=value.encode())
    answer = ProcessingResponse.FromString(await exchange.receive(message))
    assert answer.HasField("response_headers")
    half = len(body) // 2
    for chunk, last in ((body[:half], False), (body[half:], end)):
        if exchange.done:
            break
        message = ProcessingRequest()
        message.response_body.body, message.response_body.end_of_stream = chunk, last
        answer = ProcessingResponse.FromString(await exchange.receive(message))
        assert answer.HasField("response_body")
        assert not answer.response_body.response.HasField("body_mutation")


async def served(on: Bench, body: Any = ASKED, reply: Any = REPLY, **how: Any) -> str:
    """`exact` if a request was answered at once, else what Envoy was told; its reply comes then, as `how` says."""
    exchange, answer = await begin(on, body)
    told = str(answer.dynamic_metadata["kvgate"]["cache"]) if answer.HasField("request_body") else "exact"
    if not exchange.done:
        await respond(exchange, orjson.dumps(reply), **how)
    exchange.close()
    return told


async def test_an_equal_request_gets_the_same_answer_without_a_replica() -> None:
    on = bench()
    assert [await served(on), await served(on)] == ["miss", "exact"]
    assert on.look_ups == ["miss", "exact_hit"]
    assert len(on.decisions) == 1


async def test_the_answer_says_where_it_comes_from_and_streams_if_asked_to() -> None:
    on = bench()
    await served(on)
    _, blocking = await begin(on)
    _, streamed = await begin(on, {**ASKED, "stream": True})
    about = orjson.loads(blocking.immediate_response.body)["kvgate"]
    assert (about["cache"], about["latency_ms"] >= 0) == ("exact", True)
    headers = {each.header.key: each.header.raw_value for each in streamed.immediate_response.headers.set_headers}
    assert (headers["content-type"], headers["x-kvgate-cache"]) == (b"text/event-stream", b"exact")
    assert streamed.immediate_response.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "how",
    [
        {"status": "500"},
        {"status": "201"},
        {"content_encoding": "gzip"},
        {"end": False},
        {"reply": {**REPLY, "choices": []}},
        {"reply": {"error": {"message": "x"}}},
    ],
)
async def test_only_a_complete_answer_is_kept(how: dict[str, Any]) -> None:
    on = bench()
    assert [await served(on, **how), await served(on)] == ["miss", "miss"]


async def test_a_request_that_is_answered_anew_each_time_is_not_kept_and_its_reply_not_read() -> None:
    on = bench()
    exchange, answer = await begin(on, CHAT)
    assert exchange.done
    assert str(answer.dynamic_metadata["kvgate"]["cache"]) == "bypass"
    assert [await served(on, CHAT), on.look_ups] == ["bypass", ["bypass", "bypass"]]


@pytest.mark.parametrize(
    ("said", "first", "second"),
    [("no-store", "bypass", "bypass"), ("no-cache", "miss", "miss"), ("max-age=0", "miss", "exact")],
)
async def test_the_client_may_say_otherwise(said: str, first: str, second: str) -> None:
    on = bench()
    told = []
    for _ in range(2):
        exchange, answer = await begin(on, x_kvgate_cache_control=said)
        told.append(str(answer.dynamic_metadata["kvgate"]["cache"]) if answer.HasField("request_body") else "exact")
        if not exchange.done:
            await respond(exchange, orjson.dumps(REPLY))
        exchange.close()
    assert told[0] == first
    assert told[1] in (second, "miss")


async def test_equal_requests_at_once_go_upstream_once_and_envoy_is_asked_for_time() -> None:
    on = bench()
    leader, _ = await begin(on)
    said: list[bytes] = []

    async def say(message: bytes) -> None:
        said.append(message)

    followers = []
    for _ in range(99):
        exchange = on.gateway.open(say)
        await on.headers(exchange)
        followers.append(asyncio.create_task(on.body(exchange, ASKED)))
    while len(said) < 99:
        await asyncio.sleep(0)
    await respond(leader, orjson.dumps(REPLY))
    answers = await asyncio.gather(*followers)
    assert {answer.immediate_response.status.code for answer in answers} == {200}
    assert len(on.decisions) == 1
    assert ProcessingResponse.FromString(said[0]).override_message_timeout.seconds >= 30


async def test_when_the_leaders_client_goes_away_another_one_leads() -> None:
    on = bench()
    leader, _ = await begin(on)
    exchange = on.gateway.open()
    await on.headers(exchange)
    follower = asyncio.create_task(on.body(exchange, ASKED))
    await asyncio.sleep(0)
    leader.close()
    assert (await follower).HasField("request_body")
    assert not exchange.done


async def test_tenants_share_answers_only_if_they_say_so() -> None:
    keys = [{"key": f"k{name}", "tenant": name} for name in ("a", "b", "c", "d")]
    shared = [{"name": "c", "cache_scope": "both"}, {"name": "d", "cache_scope": "both"}]
    on = bench(auth={"enabled": True, "api_keys": keys}, tenants=shared)
    found = []
    for name in ("a", "b", "c", "d"):
        exchange, answer = await begin(on, authorization=f"Bearer k{name}")
        found.append("exact" if answer.HasField("immediate_response") else "miss")
        if not exchange.done:
            await respond(exchange, orjson.dumps(REPLY))
        exchange.close()
    assert found == ["miss", "miss", "miss", "exact"]


async def test_a_hit_costs_nothing() -> None:
    on = bench(budget={"enabled": True, "default_usd": 1.0}, ratelimit={"default_rpm": 60, "default_tpm": 1_000_000})
    await served(on)
    for _ in range(5):
        assert await served(on) == "exact"
    assert on.parts.ledger.known_spent().get("default", 0) == 0


async def test_the_same_question_in_other_words_gets_the_same_answer() -> None:
    on = bench(cache={**ON, "semantic": {"enabled": True}})

    def asking(text: str) -> dict[str, Any]:
        return {**ASKED, "messages": [{"role": "user", "content": text}]}

    await served(on, asking("What is the capital of France?"))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    _, again = await begin(on, asking("what is the capital of france"))
    about = orjson.loads(again.immediate_response.body)["kvgate"]
    assert (about["cache"], about["similarity"]) == ("semantic", 1.0)
    _, other = await begin(on, asking("What is the capital of Germany?"))
    assert other.HasField("request_body")
    assert on.look_ups == ["miss", "semantic_hit", "miss"]


async def test_what_an_answer_spared_the_engines_is_told_by_their_own_count() -> None:
    on = bench()
    assert [await served(on), await served(on)] == ["miss", "exact"]
    assert on.savings == [("exact", "m", 7, 1)]

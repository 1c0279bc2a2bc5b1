"""Keys, limits and budgets as clients meet them: a whole gateway with auth on, each test a tenant of its own."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.envoy.engine import Engine
from tests.envoy.gateway import Gateway, until
from tests.envoy.media import image_part
from tests.envoy.tenants import (
    COST_USD,
    UPSTREAM_KEY,
    Priced,
    ask,
    bearer,
    fleet_of,
    key,
    key_of,
    metrics,
    priced_engine,
    sdk,
    spent_usd,
    until_served,
    until_spent,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    key("acme"),
    key("modest", models=["m"]),
    key("hasty", rpm=120),
    key("thrifty", tpm=6000),
    key("lavish", tpm=6000),
    key("blocking", budget_usd=1.5 * COST_USD),
    key("streaming", budget_usd=1.5 * COST_USD),
    key("curious", budget_usd=10),
    key("impatient", budget_usd=10),
    key("warm", budget_usd=10),
    key("unlucky", budget_usd=10),
    key("many", budget_usd=0.5 * COST_USD),
    key("reloaded", budget_usd=1.5 * COST_USD),
    key("honest"),
    key("named"),
    key("discreet", budget_usd=10),
]
INFERENCE = ["chat/completions", "completions", "embeddings", "responses", "messages"]


class House:
    """A gateway, its engine, and what that engine does."""

    def __init__(self, engine: Engine, replies: Priced, gateway: Gateway) -> None:
        self.engine, self.replies, self.gateway = engine, replies, gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    engine, replies = priced_engine()
    await engine.start()
    try:
        async with Gateway(
            auth={"enabled": True, "api_keys": KEYS},
            ratelimit={"default_rpm": 6_000_000, "burst": 1},
            budget={"enabled": True},
            **fleet_of(engine),
        ) as gateway:
            await until_served(gateway, "acme")
            yield House(engine, replies, gateway)
    finally:
        replies.let_go.set()
        await engine.stop()


# -- who is let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
async def test_nobody_is_served_without_a_key(house: House, headers: dict[str, str]) -> None:
    before = len(house.engine.requests)
    for path in INFERENCE:
        async with house.gateway.http.post(f"/v1/{path}", json={"model": "m"}, headers=headers) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"], response.headers["www-authenticate"]) == (
                401,
                "invalid_api_key",
                "Bearer",
            )
    for path in ("/v1/models", "/v1/models/m"):
        async with house.gateway.http.get(path, headers=headers) as response:
            assert response.status == 401
    assert len(house.engine.requests) == before


async def test_the_sdk_raises_its_own_error_for_a_wrong_key(house: House) -> None:
    with pytest.raises(openai.AuthenticationError):
        await house.gateway.openai.with_options(api_key="wrong").models.list()


async def test_a_wrong_key_is_turned_away_before_the_body_is_uploaded(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.gateway.port)
    head = ("POST /v1/chat/completions HTTP/1.1", "host: x", "authorization: Bearer wrong", "content-length: 50000000")
    writer.write("".join(f"{line}\r\n" for line in (*head, "")).encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "headers",
    [
        bearer("acme"),
        {"authorization": f"bearer  {key_of('acme')}"},
        {"x-api-key": key_of("acme")},
        {"x-api-key": key_of("acme"), "authorization": ""},
    ],
    ids=["OpenAI's way", "in lower case", "Anthropic's way", "with an empty authorization"],
)
async def test_a_key_may_come_in_any_of_the_usual_headers(house: House, headers: dict[str, str]) -> None:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
    async with house.gateway.http.post("/v1/messages", json=body, headers=headers) as response:
        assert response.status == 200


async def test_health_and_readiness_need_no_key(house: House) -> None:
    for path in ("/healthz", "/readyz"):
        async with house.gateway.http.get(path) as response:
            assert response.status == 200


async def test_the_engine_gets_its_own_key_and_nothing_of_the_clients(house: House) -> None:
    sent = {**bearer("acme"), "x-api-key": "sk-other", "proxy-authorization": "Basic eDp5", "x-kvgate-tenant": "named"}
    sent |= {"x-kvgate-upstream-authorization": "Bearer forged", "x-kvgate-cache-control": "no-store"}
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
    async with house.gateway.http.post("/v1/chat/completions", json=body, headers=sent) as response:
        assert response.status == 200
    seen = {name.lower(): value for name, value in house.engine.requests[-1][1].items()}
    assert seen["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert not [name for name in seen if name.startswith(("x-kvgate", "x-api", "proxy-"))]


async def test_the_name_of_a_tenant_in_a_header_is_worth_nothing(house: House) -> None:
    headers = {"x-kvgate-tenant": "named"}
    async with house.gateway.http.get("/v1/models", headers=headers) as response:
        assert response.status == 401
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    headers |= bearer("honest")
    async with house.gateway.http.post("/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200
    await until_spent(house.gateway, "honest", COST_USD)
    assert await spent_usd(house.gateway, "named") == 0.0


async def test_a_model_that_a_key_may_not_use_is_refused_and_not_listed(house: House) -> None:
    client = sdk(house.gateway, "modest")
    assert [model.id async for model in client.models.list()] == ["m"]
    assert [model.id async for model in sdk(house.gateway, "acme").models.list()] == ["m", "other"]
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.chat.completions.create(model="other", messages=[{"role": "user", "content": "Hello"}])
    assert refused.value.code == "model_not_allowed"
    assert (await ask(house.gateway, "modest")).status == 200


# -- how often -----------------------------------------------------------------------------------------------------


async def test_who_waits_as_long_as_a_429_says_is_let_in(house: House) -> None:
    answers = await asyncio.gather(*(ask(house.gateway, "hasty") for _ in range(8)))
    served = [each for each in answers if each.status == 200]
    refused = [each for each in answers if each.status == 429]
    assert len(served) >= 1
    assert len(served) + len(refused) == 8
    assert (served[0].headers["x-ratelimit-limit"], served[0].headers["x-ratelimit-remaining"]) == ("120", "0")
    told = refused[0].headers
    assert refused[0].body["error"]["code"] == "rate_limit_exceeded"
    assert told["x-ratelimit-limit"] == told["x-ratelimit-limit-requests"] == "120"
    assert told["x-ratelimit-remaining"] == told["x-ratelimit-remaining-requests"] == "0"
    assert 0 < float(told["x-ratelimit-reset-requests"].removesuffix("s")) <= 0.5, "one comes back in half a second"
    assert (told["retry-after"], told["x-ratelimit-reset"]) == ("1", "1")
    assert (await ask(house.gateway, "acme")).status == 200, "another tenant is not held back"
    await asyncio.sleep(int(told["retry-after"]))
    assert (await ask(house.gateway, "hasty")).status == 200
    assert f'kvgate_rate_limited_total{{tenant="hasty"}} {len(refused)}\n' in await metrics(house.gateway)


async def test_tokens_that_were_reserved_and_not_used_are_given_back(house: House) -> None:
    assert (await ask(house.gateway, "thrifty", max_tokens=5900)).status == 200
    await until_spent(house.gateway, "thrifty", COST_USD)
    assert (await ask(house.gateway, "thrifty", max_tokens=5500)).status == 200


async def test_tokens_that_were_used_and_not_reserved_are_missing(house: House) -> None:
    assert (await ask(house.gateway, "lavish", engine={"prompt": 12000, "completion": 0})).status == 200
    await until_spent(house.gateway, "lavish", 12.0)
    refused = await ask(house.gateway, "lavish")
    assert (refused.status, refused.headers["x-ratelimit-limit-tokens"]) == (429, "6000")
    assert 30 < int(refused.headers["retry-after"]) <= 61, "a minute's worth below zero, and 100 come in a second"


# -- for how much --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["blocking", "streaming"])
async def test_a_budget_ends_in_402_however_the_answers_are_asked_for(house: House, tenant: str) -> None:
    client = sdk(house.gateway, tenant)

    async def complete() -> None:
        question: Any = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
        if tenant == "blocking":
            await client.chat.completions.create(**question)
            return
        chunks = [chunk async for chunk in await client.chat.completions.create(**question, stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "word " * 10
        assert not [chunk for chunk in chunks if chunk.usage], "the client did not ask for it"

    await complete()
    await until_spent(house.gateway, tenant, COST_USD)
    await complete()
    await until_spent(house.gateway, tenant, 2 * COST_USD)
    with pytest.raises(openai.APIStatusError) as refused:
        await complete()
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exhausted")
    day_s = 86400
    left_s = day_s - time.time() % day_s
    assert int(refused.value.response.headers["retry-after"]) in range(math.floor(left_s), math.ceil(left_s) + 10)
    assert f'kvgate_budget_rejected_total{{tenant="{tenant}"}} 1\n' in await metrics(house.gateway)
    assert await spent_usd(house.gateway, tenant) == pytest.approx(2 * COST_USD)


async def test_who_asks_for_the_usage_of_a_stream_gets_it(house: House) -> None:
    stream = await sdk(house.gateway, "curious").chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage]
    assert [usage.total_tokens for usage in usages] == [110]
    await until_spent(house.gateway, "curious", COST_USD)


async def test_who_hangs_up_in_mid_stream_pays_for_what_was_sent(house: House) -> None:
    stream = await sdk(house.gateway, "impatient").chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Hello " * 200}],
        stream=True,
        extra_body={"engine": {"hold": True, "completion": 50}},
    )
    await house.replies.holding.wait()
    async for _ in stream:
        break
    await stream.close()

    async def billed() -> bool:
        return await spent_usd(house.gateway, "impatient") > 0.25  # some 300 tokens of prompt

    await until(billed, lambda: house.gateway.log[-3000:])
    assert 'kvgate_usage_estimated_total{model="m"} 1\n' in await metrics(house.gateway)
    house.replies.let_go.set()


async def test_cached_tokens_have_a_price_of_their_own(house: House) -> None:
    answer = await ask(house.gateway, "warm", engine={"prompt": 100, "cached": 80, "completion": 10})
    cost_usd = (20 * 1.0 + 80 * 0.1 + 10 * 2.0) / 1000
    assert answer.body["kvgate"]["estimated_cost_usd"] == pytest.approx(cost_usd)
    await until_spent(house.gateway, "warm", cost_usd)


async def test_what_is_refused_or_fails_costs_nothing_and_holds_nothing_back(house: House) -> None:
    gateway, huge = house.gateway, {"max_tokens": 1_000_000}  # 2,000 USD

    async def the_reservation_is_gone() -> bool:
        answer = await ask(gateway, "unlucky", engine={"prompt": 0, "completion": 0})
        assert answer.status in (200, 402)
        return answer.status == 200

    for status, fields in (
        (400, {**huge, "engine": {"status": 400}}),
        (500, {**huge, "engine": {"status": 500}}),
        (404, {**huge, "model": "unknown"}),
        (400, {**huge, "messages": 7}),
    ):
        assert (await ask(gateway, "unlucky", **fields)).status == status
        await until(the_reservation_is_gone, lambda: gateway.log[-3000:])
    assert await spent_usd(gateway, "unlucky") == 0.0


async def test_what_many_requests_at_once_may_spend_is_bounded_by_what_they_reserve(house: House) -> None:
    gateway, replies = house.gateway, house.replies
    replies.let_go.clear()
    replies.holding.clear()
    first = asyncio.create_task(ask(gateway, "many", engine={"hold": True}))
    await replies.holding.wait()  # its 20 tokens at most and its prompt are reserved
    others = await asyncio.gather(*(ask(gateway, "many", max_tokens=100) for _ in range(20)))
    replies.let_go.set()
    assert (await first).status == 200
    assert sum(each.status == 200 for each in others) <= 1
    assert {each.status for each in others} <= {200, 402}


# -- when things change or break -----------------------------------------------------------------------------------


async def test_a_reload_changes_limits_and_keeps_what_was_spent(house: House) -> None:
    gateway = house.gateway
    for count in (1, 2):
        assert (await ask(gateway, "reloaded")).status == 200
        await until_spent(gateway, "reloaded", count * COST_USD)
    assert (await ask(gateway, "reloaded")).status == 402
    rules = next(each for each in gateway.config["auth"]["api_keys"] if each["tenant"] == "reloaded")
    for budget_usd, status in ((2.5 * COST_USD, 200), (2 * COST_USD, 402)):
        rules["budget_usd"] = budget_usd
        reloads = gateway.log.count("configuration reloaded")
        gateway.write_config()
        await gateway.until_logged("configuration reloaded", times=reloads + 1)
        assert (await ask(gateway, "reloaded")).status == status
    await until_spent(gateway, "reloaded", 3 * COST_USD)


async def test_a_key_that_is_taken_out_of_the_file_is_worth_nothing_from_then_on(house: House) -> None:
    gateway = house.gateway
    assert (await ask(gateway, "honest")).status == 200
    keys = gateway.config["auth"]["api_keys"]
    keys.remove(next(each for each in keys if each["tenant"] == "honest"))
    reloads = gateway.log.count("configuration reloaded")
    gateway.write_config()
    await gateway.until_logged("configuration reloaded", times=reloads + 1)
    assert (await ask(gateway, "honest")).status == 401


async def test_no_key_and_nothing_of_a_prompt_is_in_the_log_or_the_metrics(house: House) -> None:
    gateway, image = house.gateway, image_part(7, 560)
    words = "an-unspeakable-secret-of-the-prompt"
    content = [{"type": "text", "text": words}, image]
    for tenant in ("discreet", "modest", "blocking", "unlucky"):
        for model in ("m", "other", words):
            await ask(gateway, tenant, model=model, messages=[{"role": "user", "content": content}])
    await ask(gateway, "discreet", messages=[{"role": "user", "content": content}], engine={"status": 500})
    for text in (f'{{"model": "m", "messages": {words}', f'{{"model": "m", "messages": "{words}"}}'):
        async with gateway.http.post("/v1/chat/completions", data=text, headers=bearer("discreet")) as response:
            assert response.status == 400
            assert words not in (await response.text())
    await ask(gateway, words)
    encoded = image["image_url"]["url"].partition(",")[2]
    image_bytes = base64.b64decode(encoded)
    secrets = [UPSTREAM_KEY, words, *(each["key"] for each in KEYS), encoded[100:140], image_bytes[100:120].hex()]
    for page in (gateway.log, await metrics(gateway)):
        assert not [secret for secret in secrets if secret in page]


async def test_a_stream_that_is_read_for_the_cache_outlives_the_processor(house: House) -> None:
    gateway, replies = house.gateway, house.replies
    replies.let_go.clear()
    replies.holding.clear()
    stream = await sdk(gateway, "acme").chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Hello"}],
        temperature=0,
        stream=True,
        extra_body={"engine": {"hold": True}},
    )
    await replies.holding.wait()
    gateway.kill("serve")
    await until_served(gateway, "acme")
    replies.let_go.set()
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_with_the_processor_gone_nobody_is_served_until_it_is_back(house: House) -> None:
    gateway = house.gateway
    before = len(house.engine.requests)
    gateway.kill("serve")
    answer = await ask(gateway, "acme")
    while answer.status == 200 and len(house.engine.requests) == before:  # pragma: no cover
        answer = await ask(gateway, "acme")
    assert (answer.status, answer.body["error"]["code"]) == (503, "policy_unavailable")
    assert answer.headers["retry-after"] == "1"
    for path in ("/v1/models", "/readyz"):
        async with gateway.http.get(path) as response:
            assert response.status == 503
    forged = {**bearer("acme"), "x-kvgate-cluster": "p", "x-gateway-destination-endpoint": house.engine.address}
    async with gateway.http.post("/v1/chat/completions", json={"model": "m"}, headers=forged) as response:
        assert response.status == 503
    assert len(house.engine.requests) == before
    async with gateway.http.get("/healthz") as response:
        assert response.status == 200
    await until_served(gateway, "acme")
    assert (await ask(gateway, None)).status == 401

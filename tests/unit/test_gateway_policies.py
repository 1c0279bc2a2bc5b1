"""Who is let in, within which limits, and that nothing stays reserved for a request that came to nothing."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import orjson
import pytest
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse

from extproc.config.topology import Model, Pool, Target, Topology
from extproc.fleet.events import Usage
from extproc.gateway.exchange import Exchange
from extproc.gateway.pipeline import Pipeline
from extproc.metering.meter import Meter
from extproc.metering.metering import End, Metering
from tests.unit.test_gateway_exchange import CHAT, A, B, Bench, error, set_headers

KEYS = {
    "enabled": True,
    "api_keys": [
        {"key": "sk-one", "tenant": "acme"},
        {"key_sha256": hashlib.sha256(b"sk-two").hexdigest(), "tenant": "beta", "models": ["other"]},
    ],
}
ONE = {"authorization": "Bearer sk-one"}


def priced() -> Topology:
    pool = Pool("pool", (A, B))
    target = Target(pool, "m", 1.0, 2.0, 0.1, {"a": "mine", "b": "mine"})
    return Topology({"m": Model("m", (target,)), "other": Model("other", (target,))}, {"pool": pool}, "pool")


async def status(bench: Bench, more: dict[str, str], body: Any = CHAT) -> int:
    exchange = bench.gateway.open()
    answer = await bench.headers(exchange, more=more)
    if not answer.HasField("immediate_response"):
        answer = await bench.body(exchange, body)
    exchange.close()
    return answer.immediate_response.status.code or 200


class TestAuthentication:
    @pytest.mark.parametrize(
        "credential",
        [{"authorization": "Bearer sk-one"}, {"authorization": "bearer  sk-one "}, {"x-api-key": "sk-one"}],
    )
    async def test_a_key_lets_in_however_it_is_sent(self, credential: dict[str, str]) -> None:
        assert await status(Bench(priced(), auth=KEYS), credential) == 200

    @pytest.mark.parametrize(
        "credential",
        [
            {},
            {"authorization": ""},
            {"authorization": "Bearer"},
            {"authorization": "Bearer sk-onE"},
            {"authorization": "Basic c2stb25l"},
            {"authorization": "Bearer sk-one sk-one"},
            {"x-api-key": "x"},
            {"x-kvgate-tenant": "acme"},
        ],
    )
    async def test_nobody_else_gets_past_the_headers(self, credential: dict[str, str]) -> None:
        bench = Bench(priced(), auth=KEYS)
        exchange = bench.gateway.open()
        code, described = error(await bench.headers(exchange, more=credential))
        assert (code, described["code"]) == (401, "invalid_api_key")
        assert "sk-" not in described["message"]
        assert exchange.done
        assert bench.refusals == [("invalid_api_key", 401, "default")]

    async def test_a_key_asks_for_its_models_and_sees_no_others(self) -> None:
        bench = Bench(priced(), auth=KEYS)
        two = {"authorization": "Bearer sk-two"}
        assert await status(bench, two) == 403
        assert await status(bench, two, {**CHAT, "model": "other"}) == 200
        listed = await bench.headers(bench.gateway.open(), "/v1/models", "GET", end=True, more=two)
        assert [each["id"] for each in orjson.loads(listed.immediate_response.body)["data"]] == ["other"]

    async def test_models_are_not_listed_for_strangers_and_readiness_is_for_all(self) -> None:
        bench = Bench(priced(), auth=KEYS)
        models = await bench.headers(bench.gateway.open(), "/v1/models", "GET", end=True)
        ready = await bench.headers(bench.gateway.open(), "/readyz", "GET", end=True)
        assert (models.immediate_response.status.code, ready.immediate_response.status.code) == (401, 200)

    async def test_a_fault_of_ours_before_it_is_known_who_asks_lets_nobody_in(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench(priced(), auth=KEYS)
        monkeypatch.setattr(bench.gateway.catalog.current.policies.keys, "find", _broken)
        code, described = error(await bench.headers(bench.gateway.open(), more=ONE))
        assert (code, described["type"]) == (500, "server_error")

    async def test_a_tenant_that_envoy_vouches_for_needs_no_key(self) -> None:
        auth = {"enabled": True, "tenant_header": "X-Who"}
        bench = Bench(priced(), auth=auth, tenants=[{"name": "gamma", "models": ["other"]}])
        assert await status(bench, {"x-who": "anybody"}) == 200
        assert await status(bench, {"x-who": "gamma"}) == 403
        assert await status(bench, {"x-who": "x" * 200}) == 401
        assert await status(bench, {}) == 401


class TestLimits:
    async def test_a_tenant_is_limited_and_told_so_truly(self) -> None:
        bench = Bench(priced(), auth=KEYS, ratelimit={"default_rpm": 60, "burst": 2})
        assert [await status(bench, ONE) for _ in range(3)] == [200, 200, 429]
        refused = await bench.post(CHAT, more=ONE)
        headers = {
            each.header.key: each.header.raw_value.decode() for each in refused.immediate_response.headers.set_headers
        }
        assert (headers["retry-after"], headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (
            "1",
            "60",
            "0",
        )
        assert bench.refusals[-1] == ("rate_limit_exceeded", 429, "acme")
        bench.clock.advance(1.0)
        assert await status(bench, ONE) == 200

    async def test_what_is_left_is_told_with_every_answer(self) -> None:
        bench = Bench(priced(), ratelimit={"default_rpm": 60, "burst": 5})
        told = (await bench.post(CHAT)).dynamic_metadata["kvgate"]
        assert (told["ratelimit_limit"], told["ratelimit_remaining"]) == ("60", "4")

    async def test_without_limits_nothing_is_told_and_nothing_reserved(self) -> None:
        bench = Bench(priced())
        told = (await bench.post(CHAT)).dynamic_metadata["kvgate"]
        assert "ratelimit_limit" not in told.fields
        assert Meter.unpack(told["meter"]).bill is None


class TestBudget:
    BUDGET: ClassVar = {"enabled": True, "default_usd": 5.0, "reserve_tokens": 1000}  # 2 dollars for a request's answer

    async def reserved_answer(self, bench: Bench, **fields: Any) -> ProcessingResponse:
        return await bench.post({**CHAT, **fields})

    async def test_requests_in_flight_are_reserved_for(self) -> None:
        bench = Bench(priced(), budget=self.BUDGET)
        answers = [await self.reserved_answer(bench) for _ in range(4)]
        codes = [answer.immediate_response.status.code or 200 for answer in answers]
        assert codes == [200, 200, 200, 402]  # 2.4 dollars each: the third finds some left
        assert bench.refusals[-1] == ("budget_exhausted", 402, "default")

    async def test_what_is_settled_makes_room_again(self) -> None:
        bench = Bench(priced(), budget=self.BUDGET)
        metering = Metering(bench.parts.ledger, lambda metered: None)
        for _ in range(6):
            answer = await self.reserved_answer(bench)
            meter = Meter.unpack(answer.dynamic_metadata["kvgate"]["meter"])
            metering.take(meter, End(200, 1, Usage(100, 10, 50), True, 400, 0.1, 0.1))
        assert bench.parts.ledger.known_spent() == {"default": 6 * (50 + 5 + 20) * 1_000_000}

    async def test_a_longer_answer_reserves_more(self) -> None:
        bench = Bench(priced(), budget={**self.BUDGET, "default_usd": 100.0})
        bills = []
        for fields in ({}, {"max_tokens": 10}, {"max_tokens": 10, "n": 3}):
            answer = await self.reserved_answer(bench, **fields)
            bill = Meter.unpack(answer.dynamic_metadata["kvgate"]["meter"]).bill
            assert bill is not None
            bills.append(bill.cost_reserved_nusd / 1e9)
        prompt = bills[1] - 0.02
        assert bills == pytest.approx([prompt + 2.0, prompt + 0.02, prompt + 0.06])

    @pytest.mark.parametrize("way", ["no replica", "a fault", "the stream ends"])
    async def test_a_request_that_was_not_sent_on_holds_nothing(self, way: str) -> None:
        bench = Bench(priced(), budget=self.BUDGET)
        steps = bench.gateway.pipeline
        for _ in range(5):
            exchange = bench.gateway.open()
            await bench.headers(exchange)
            if way == "no replica":
                for state in bench.fleet.replicas.values():
                    state.draining = True
                assert error(await bench.body(exchange, CHAT))[0] == 503
            elif way == "a fault":
                bench.gateway.pipeline = Pipeline(
                    [*zip(steps.timings, _steps_of(steps), strict=True), ("broken", _broken)]
                )
                assert not set_headers(await bench.body(exchange, CHAT))
            else:
                await _unsent(exchange)
            exchange.close()
        for state in bench.fleet.replicas.values():
            state.draining = False
        bench.gateway.pipeline = steps
        assert await status(bench, {}) == 200


def _steps_of(pipeline: Pipeline) -> list[Any]:
    return [step for _, step in pipeline._steps]


async def _break(exchange: Exchange) -> None:
    raise ZeroDivisionError


def _broken(presented: str) -> None:
    raise ZeroDivisionError


async def _unsent(exchange: Exchange) -> None:
    message = ProcessingRequest()
    message.request_body.body = orjson.dumps(CHAT)
    await exchange.receive(message)

"""The request path without a server: Envoy's messages in, answers out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from hypothesis import given
from hypothesis import strategies as st

from extproc.assembly import Assembly
from extproc.clock import ManualClock
from extproc.config.settings import Routing, Settings
from extproc.config.topology import Model, Pool, Replica, Target, Topology
from extproc.fleet.events import Finished
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog, Directory
from extproc.gateway.exchange import Exchange
from extproc.gateway.gateway import Gateway
from extproc.gateway.pipeline import Pipeline
from extproc.gateway.policies import Policies
from extproc.gateway.receipt import MAX_BYTES, receipt_header
from extproc.gateway.sampler import Sampler
from extproc.routing import Candidate, Demand, Ranking, Score, build_strategy
from tests.unit.say import fleet_of

A, B = Replica("a", "10.0.0.1", 8000), Replica("b", "10.0.0.2", 8000)
ADDRESSES = {"a": ("10.0.0.1", 8000), "b": ("10.0.0.2", 8000)}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "tell me a story " * 100}]}


def topology(*replicas: Replica, upstream_model: str = "m", **pool: object) -> Topology:
    fleet = Pool("pool", replicas or (A, B), **pool)  # type: ignore[arg-type]
    target = Target(fleet, upstream_model, providers={"a": "mine", "b": "yours"})
    return Topology({"m": Model("m", (target,))}, {"pool": fleet}, "pool")


def directory(
    layout: Topology | None = None,
    routing: Routing | None = None,
    addresses: Mapping[str, tuple[str, int]] = {},
    settings: Settings | None = None,
) -> Directory:
    routing = routing or Routing()
    policies = Policies.of(settings or Settings())
    return Directory(layout or topology(), routing, build_strategy(routing), addresses, policies)


class Bench:
    """A gateway on a clock that stands still."""

    def __init__(
        self,
        layout: Topology | None = None,
        *,
        samples_per_s: float = 0.0,
        routing: Routing | None = None,
        **sections: Any,
    ) -> None:
        self.clock = ManualClock()
        self.fleet: Fleet = fleet_of("a", "b")
        routing = routing or Routing()
        settings = Settings.model_validate({"cache": {"enabled": False}, **sections})
        self.parts = Assembly.of(settings, self.fleet, self.clock)
        self.decisions: list[tuple[str, str, str]] = []
        self.refusals: list[tuple[str, int, str]] = []
        self.look_ups: list[str] = []
        self.savings: list[tuple[str, str, int, int]] = []
        self.first_tokens: list[tuple[str, str, str, float]] = []
        self.gateway = Gateway(
            Catalog(directory(layout, routing, ADDRESSES, settings)),
            self.fleet,
            self.parts.ledger,
            self.parts.pipeline,
            self.clock,
            Sampler(samples_per_s, self.clock),
            7,
            caches=settings.cache.enabled,
            observer=self,
        )

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        self.decisions.append((model, provider, upstream_model))

    def refused(self, code: str, status: int, tenant: str) -> None:
        self.refusals.append((code, status, tenant))

    def looked_up(self, outcome: str) -> None:
        self.look_ups.append(outcome)

    def saved(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.savings.append((cache, model, prompt_tokens, completion_tokens))

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        self.first_tokens.append((endpoint, provider, model, ttft_s))

    async def headers(
        self,
        exchange: Exchange,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        *,
        end: bool = False,
        more: dict[str, str] | None = None,
    ) -> ProcessingResponse:
        message = ProcessingRequest()
        message.request_headers.end_of_stream = end
        for key, value in {":path": path, ":method": method, "x-request-id": "r-1", **(more or {})}.items():
            message.request_headers.headers.headers.add(key=key, raw_value=value.encode("latin-1", "replace"))
        return ProcessingResponse.FromString(await exchange.receive(message))

    async def body(self, exchange: Exchange, body: object) -> ProcessingResponse:
        message = ProcessingRequest()
        message.request_body.body = body if isinstance(body, bytes) else orjson.dumps(body)
        message.request_body.end_of_stream = True
        answer = ProcessingResponse.FromString(await exchange.receive(message))
        exchange.delivered()
        return answer

    async def post(
        self, body: object, path: str = "/v1/chat/completions", more: dict[str, str] | None = None
    ) -> ProcessingResponse:
        exchange = self.gateway.open()
        await self.headers(exchange, path, more=more)
        answer = await self.body(exchange, body)
        exchange.close()
        return answer


def set_headers(answer: ProcessingResponse) -> dict[str, str]:
    mutation = answer.request_body.response.header_mutation
    return {option.header.key: option.header.raw_value.decode() for option in mutation.set_headers}


def error(answer: ProcessingResponse) -> tuple[int, dict[str, str]]:
    return answer.immediate_response.status.code, orjson.loads(answer.immediate_response.body)["error"]


async def test_a_request_is_sent_to_a_cluster_with_its_replicas_in_order() -> None:
    answer = await Bench().post(CHAT)
    headers = set_headers(answer)
    assert headers["x-kvgate-cluster"] == "pool"
    assert sorted(headers["x-gateway-destination-endpoint"].split(",")) == ["10.0.0.1:8000", "10.0.0.2:8000"]
    lb = answer.dynamic_metadata["envoy.lb"]
    assert lb["x-gateway-destination-endpoint"] == headers["x-gateway-destination-endpoint"]
    assert answer.request_body.response.clear_route_cache
    assert not answer.request_body.response.HasField("body_mutation")


async def test_the_second_turn_goes_to_the_replica_that_served_the_first() -> None:
    bench = Bench()
    first = await bench.post(CHAT)
    bench.fleet.apply(Finished(1.0, first.dynamic_metadata["kvgate"]["ticket"], "", "b", 200, 2, True))
    second = await bench.post(CHAT)
    assert set_headers(second)["x-gateway-destination-endpoint"].startswith("10.0.0.2:")
    assert int(second.dynamic_metadata["kvgate"]["predicted_cached_tokens"]) > 300


async def test_a_decision_is_told_with_the_provider_of_the_replica_that_was_chosen() -> None:
    bench = Bench(topology(upstream_model="org/m"))
    answer = await bench.post(CHAT)
    await bench.post(b"{")
    first = set_headers(answer)["x-gateway-destination-endpoint"].split(":")[0]
    assert bench.decisions == [("m", {"10.0.0.1": "mine", "10.0.0.2": "yours"}[first], "org/m")]


async def test_a_replica_with_a_cluster_of_its_own_is_named_by_it() -> None:
    own = Replica("a", "10.0.0.1", 8000, cluster="only-a")
    headers = set_headers(await Bench(topology(own)).post(CHAT))
    assert headers["x-kvgate-cluster"] == "only-a"
    assert "x-gateway-destination-endpoint" not in headers


async def test_a_model_with_another_name_upstream_is_renamed_and_nothing_else_changes() -> None:
    body = b'{ "messages":[{"role":"user","content":"m"}], "big": 123456789012345678901234567890, "model" : "m"}'
    answer = await Bench(topology(upstream_model="org/m-7b")).post(body)
    assert answer.request_body.response.body_mutation.body == body.replace(b'"model" : "m"', b'"model" : "org/m-7b"')


async def test_path_prefix_and_key_of_a_provider_are_added() -> None:
    headers = set_headers(await Bench(topology(path_prefix="/openai", api_key="k")).post(CHAT))
    assert headers[":path"] == "/openai/v1/chat/completions"
    assert headers["x-kvgate-upstream-authorization"] == "Bearer k"
    assert "authorization" not in headers


async def test_an_exchange_is_over_once_it_is_routed() -> None:
    bench = Bench()
    exchange = bench.gateway.open()
    await bench.headers(exchange)
    assert not exchange.done
    await bench.body(exchange, CHAT)
    assert exchange.done


async def test_a_sampled_stream_reports_its_first_token() -> None:
    bench = Bench(samples_per_s=10)
    exchange = bench.gateway.open()
    answer = await bench.headers(exchange)
    assert answer.HasField("mode_override")
    await bench.body(exchange, {**CHAT, "stream": True})
    assert not exchange.done
    chosen = bench.fleet.replicas[exchange.ranking.best.name]
    assert chosen.queued_tokens > 0
    chunk = ProcessingRequest()
    chunk.response_body.body = b"data: {}\n\n"
    assert ProcessingResponse.FromString(await exchange.receive(chunk)).HasField("response_body")
    assert exchange.done
    assert (chosen.inflight, chosen.queued_tokens) == (1, 0)


async def test_a_first_token_is_told_with_its_endpoint_provider_and_time() -> None:
    bench = Bench(samples_per_s=10)
    exchange = bench.gateway.open()
    await bench.headers(exchange)
    await bench.body(exchange, {**CHAT, "stream": True})
    provider = {"a": "mine", "b": "yours"}[exchange.ranking.best.name]
    bench.clock.advance(0.25)
    chunk = ProcessingRequest()
    chunk.response_body.body = b"data: {}\n\n"
    await exchange.receive(chunk)
    assert bench.first_tokens == [("/v1/chat/completions", provider, "m", pytest.approx(0.25))]


async def test_a_sampled_request_that_turns_out_not_to_stream_is_not_waited_for() -> None:
    bench = Bench(samples_per_s=10)
    exchange = bench.gateway.open()
    await bench.headers(exchange)
    await bench.body(exchange, CHAT)
    assert exchange.done


async def test_samples_are_bounded() -> None:
    bench = Bench(samples_per_s=2)
    taken = [(await bench.headers(bench.gateway.open())).HasField("mode_override") for _ in range(10)]
    assert sum(taken) == 2
    bench.clock.advance(0.5)
    assert (await bench.headers(bench.gateway.open())).HasField("mode_override")


async def test_an_answer_that_never_reached_envoy_is_taken_back() -> None:
    bench = Bench()
    exchange = bench.gateway.open()
    await bench.headers(exchange)
    message = ProcessingRequest()
    message.request_body.body = orjson.dumps(CHAT)
    await exchange.receive(message)
    assert bench.fleet.outstanding == 1
    exchange.close()
    assert bench.fleet.outstanding == 0


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[]", 400, None),
        ({"messages": []}, 400, "model"),
        ({"model": "m"}, 400, "messages"),
        ({"model": "nope", "messages": [{"role": "user", "content": "x"}]}, 404, "model"),
        (b'{"model":"m","messages":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, None),
    ],
)
async def test_bad_bodies_get_a_clear_error_and_leave_nothing(body: object, status: int, param: str | None) -> None:
    bench = Bench()
    code, described = error(await bench.post(body))
    assert code == status
    assert described["message"]
    assert described["type"] == "invalid_request_error"
    assert param is None or described["param"] == param
    assert bench.fleet.outstanding == 0


async def test_an_undecodable_image_is_refused_by_its_place() -> None:
    url = {"url": "data:image/png;base64,@@@@"}
    content = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": url}]
    code, described = error(await Bench().post({"model": "m", "messages": [{"role": "user", "content": content}]}))
    assert code == 400
    assert described["param"].startswith("messages[0].content[1]")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("GET", "/nope", 404), ("POST", "/v2", 404)],
)
async def test_wrong_paths_and_methods_are_refused_at_once(method: str, path: str, status: int) -> None:
    bench = Bench()
    exchange = bench.gateway.open()
    answer = await bench.headers(exchange, path, method, end=True)
    assert exchange.done
    assert error(answer)[0] == status


async def test_models_are_listed_without_a_replica() -> None:
    bench = Bench()
    answer = await bench.headers(bench.gateway.open(), "/v1/models", "GET", end=True)
    assert answer.immediate_response.status.code == 200
    assert orjson.loads(answer.immediate_response.body)["data"][0]["id"] == "m"


async def test_a_post_without_a_body_is_told_so() -> None:
    bench = Bench()
    assert error(await bench.headers(bench.gateway.open(), end=True))[0] == 400


async def test_with_every_replica_gone_the_answer_is_503_and_not_ready() -> None:
    bench = Bench()
    bench.gateway.catalog.current = directory()
    assert error(await bench.post(CHAT))[0] == 503


async def test_readiness_follows_the_fleet() -> None:
    bench = Bench()
    ready = await bench.headers(bench.gateway.open(), "/readyz", "GET", end=True)
    for name in ("a", "b"):
        bench.fleet.replicas[name].proven = False
    unready = await bench.headers(bench.gateway.open(), "/readyz", "GET", end=True)
    assert (ready.immediate_response.status.code, unready.immediate_response.status.code) == (200, 503)


async def test_replicas_in_doubt_serve_when_nobody_else_can() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.fleet.replicas[name].proven = False
    assert set_headers(await bench.post(CHAT))["x-kvgate-cluster"] == "pool"


async def test_a_fault_of_ours_costs_the_choice_and_not_the_request(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def __call__(self, exchange: Exchange) -> None:
            raise ZeroDivisionError

    bench = Bench()
    bench.gateway.pipeline = Pipeline([("broken", Broken())])
    with caplog.at_level(logging.ERROR):
        answer = await bench.post(CHAT)
    assert answer.HasField("request_body")
    assert not set_headers(answer)
    assert "routed blind" in caplog.text


@given(st.binary(max_size=200))
async def test_no_body_breaks_an_exchange(body: bytes) -> None:
    bench = Bench()
    answer = await bench.post(body)
    assert answer.WhichOneof("response") == "immediate_response"
    assert 400 <= answer.immediate_response.status.code < 500


ASK = {"x-kvgate-explain": "1"}


async def test_a_decision_comes_with_its_receipt_when_asked_for_and_allowed() -> None:
    answer = await Bench(routing=Routing(explain=True)).post(CHAT, more=ASK)
    text = answer.dynamic_metadata["kvgate"]["receipt"]
    receipt = orjson.loads(text)
    assert text.isascii()
    assert " " not in text
    assert receipt["replica"] == receipt["replicas"][0]["name"]
    assert {each["name"] for each in receipt["replicas"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("allowed", "more"), [(False, ASK), (True, {}), (True, {"x-kvgate-explain": "0"}), (True, {"x-kvgate-explain": ""})]
)
async def test_there_is_no_receipt_unless_asked_for_and_allowed(allowed: bool, more: dict[str, str]) -> None:
    answer = await Bench(routing=Routing(explain=allowed)).post(CHAT, more=more)
    assert "receipt" not in answer.dynamic_metadata["kvgate"].fields


@pytest.mark.parametrize("count", [1, 8, 9, 200])
def test_a_receipt_fits_a_header_however_many_replicas_there_are(count: int) -> None:
    terms = tuple((f"term_{number}", 1 / 3) for number in range(6))
    scores = tuple(
        Score(Candidate(f"{number:03}" + "x" * 125, "pool"), number / 3, "a note", terms) for number in range(count)
    )
    text = receipt_header(Ranking("prefix_kv_aware", "spread", Demand(123456), scores))
    receipt = orjson.loads(text)
    assert len(text) <= MAX_BYTES
    assert len(receipt["replicas"]) + receipt.get("not_shown", 0) == count
    assert receipt["replicas"][0]["name"] == receipt["replica"]


async def test_the_session_is_what_the_configured_header_says() -> None:
    bench = Bench(routing=Routing(session_header="x-conversation"))
    exchange = bench.gateway.open()
    await bench.headers(exchange, more={"x-conversation": "c-1", "x-session-id": "other"})
    assert exchange.session == "c-1"


@pytest.mark.parametrize("sections", [{}, {"cache": {"enabled": True}}])
async def test_a_reply_of_envoys_own_to_a_request_that_was_never_whole_is_nobodys(sections: dict[str, Any]) -> None:
    bench = Bench(samples_per_s=10, **sections)
    for phase in ("response_headers", "response_body"):
        exchange = bench.gateway.open()
        await bench.headers(exchange)
        message = ProcessingRequest()
        getattr(message, phase).end_of_stream = False
        assert ProcessingResponse.FromString(await exchange.receive(message)).HasField(phase)
        assert exchange.done

"""Where a request goes, with a real Envoy under the rendered bootstrap."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from extproc.config.topology import Replica
from tests.envoy.engine import answering, streaming
from tests.envoy.plumbing import gateway, topology
from tests.envoy.processor_double import Decision
from tests.ports import free_port


async def test_the_first_replica_of_the_list_serves_and_is_named(tmp_path: Path) -> None:
    async with gateway(tmp_path, engines=3) as g:
        for engine in g.engines:
            others = [each.address for each in g.engines if each is not engine]
            g.processor.decide = lambda h, b, order=(engine.address, *others): Decision("pool", order)
            status, headers, body = await g.post()
            assert (status, body["engine"], headers["x-kvgate-replica"]) == (200, engine.name, engine.name)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_replica_that_fails_is_replaced_by_the_next_of_the_list(tmp_path: Path, status: int) -> None:
    async with gateway(tmp_path, engines=3) as g:
        first, second, third = g.engines
        first.reply = answering(status)
        g.processor.decide = lambda h, b: Decision("pool", (first.address, third.address, second.address))
        served, headers, body = await g.post()
        assert (served, body["engine"], headers["x-kvgate-replica"]) == (200, third.name, third.name)
        entry = await g.processor.entry()
        assert entry.common_properties.upstream_request_attempt_count == 2
        balancing = entry.common_properties.metadata.filter_metadata["envoy.lb"]
        assert balancing["x-gateway-destination-endpoint-served"] == third.address


async def test_a_dead_replica_is_replaced_by_the_next_of_the_list(tmp_path: Path) -> None:
    async with gateway(tmp_path, engines=3) as g:
        dead, warm, _ = g.engines
        await dead.stop()
        g.processor.decide = lambda h, b: Decision("pool", (dead.address, warm.address))
        status, headers, _ = await g.post()
        assert (status, headers["x-kvgate-replica"]) == (200, warm.name)


async def test_when_the_list_is_used_up_any_other_replica_serves(tmp_path: Path) -> None:
    async with gateway(tmp_path, engines=3) as g:
        first, *others = g.engines
        first.reply = answering(503)
        g.processor.decide = lambda h, b: Decision("pool", (first.address,))
        status, headers, _ = await g.post()
        assert status == 200
        assert headers["x-kvgate-replica"] in {each.name for each in others}


@pytest.mark.parametrize("status", [400, 404, 422, 501, 505])
async def test_an_answer_that_all_replicas_would_give_is_not_retried(tmp_path: Path, status: int) -> None:
    async with gateway(tmp_path) as g:
        for engine in g.engines:
            engine.reply = answering(status, {"error": {"message": "no"}})
        g.processor.decide = lambda h, b: Decision("pool", tuple(each.address for each in g.engines))
        served, _, body = await g.post()
        assert (served, body) == (status, {"error": {"message": "no"}})
        assert sum(len(each.requests) for each in g.engines) == 1


async def test_a_20_mb_body_is_sent_again_to_the_second_replica(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        first, second = g.engines
        first.reply = answering(503)
        g.processor.decide = lambda h, b: Decision("pool", (first.address, second.address))
        size = 20_000_000
        status, _, body = await g.post(data=io.BytesIO(b"x" * size))
        assert (status, body["engine"], body["bytes"]) == (200, second.name, size)
        assert [received for _, _, received in first.requests] == [size]


async def test_a_replica_with_a_cluster_of_its_own_can_be_named_by_the_header(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    fleet = topology(*(Replica(f"r{port}", "127.0.0.1", port, cluster=f"cluster-{port}") for port in ports))
    async with gateway(tmp_path, fleet=fleet, ports=ports) as g:
        for engine in g.engines:
            g.processor.decide = lambda h, b, to=engine.port: Decision(f"cluster-{to}")
            status, headers, body = await g.post()
            assert (status, body["engine"], headers["x-kvgate-replica"]) == (200, engine.name, f"r{engine.port}")


async def test_what_a_client_says_about_routing_is_heard_by_nobody(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        said = {
            "x-kvgate-cluster": "nowhere",
            "x-kvgate-replica": "me",
            "X-Gateway-Destination-Endpoint": "10.9.9.9:1",
            "x-gateway-destination-endpoint-served": "10.9.9.9:1",
            "x-envoy-max-retries": "0",
            "x-envoy-upstream-rq-timeout-ms": "1",
        }
        status, _, body = await g.post(headers=said)
        assert status == 200
        assert not {key.lower() for key in said} & g.processor.seen[-1].keys()
        assert not {key.lower() for key in said} & body["headers"].keys()


async def test_the_processors_own_routing_headers_end_at_envoy(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        address = g.engines[1].address
        told = {
            "x-gateway-destination-endpoint": address,
            "x-data-parallel-rank": "3",
            "x-kvgate-upstream-authorization": "Bearer k",
        }
        told[":path"] = "/prefix/v1/chat/completions"
        g.processor.decide = lambda h, b: Decision("pool", (address,), headers=told)
        status, headers, body = await g.post(headers={"authorization": "Bearer client"})
        assert (status, headers["x-kvgate-replica"]) == (200, "engine-1")
        assert body["path"] == "/prefix/v1/chat/completions"
        assert body["headers"]["x-data-parallel-rank"] == "3"
        assert body["headers"]["authorization"] == "Bearer k"
        assert not [key for key in body["headers"] if key.startswith(("x-kvgate", "x-gateway", "x-envoy"))]


async def test_response_headers_are_the_gateways_word_and_not_the_engines(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for engine in g.engines:
            engine.reply = answering(
                200,
                {},
                x_kvgate_replica="liar",
                x_kvgate_predicted_cached_tokens="999",
                endpoint_load_metrics="TEXT x=1",
                x_envoy_upstream_service_time="1",
            )
        _, headers, _ = await g.post()
        assert headers["x-kvgate-replica"].startswith("engine-")
        assert "x-kvgate-predicted-cached-tokens" not in headers
        assert not [key for key in headers if key.startswith(("x-envoy", "endpoint-load"))]
        g.processor.decide = lambda h, b: Decision(
            "pool", metadata={"predicted_cached_tokens": 123456, "cache": "miss"}
        )
        _, headers, _ = await g.post()
        assert headers["x-kvgate-predicted-cached-tokens"] == "123456"
        assert headers["x-kvgate-cache"] == "miss"


async def test_a_clients_request_id_survives_and_one_is_made_where_there_is_none(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for own in ("my-id", "9b2f8b5e-5d0e-4a0a-8a7a-1c2d3e4f5a6b"):
            _, headers, body = await g.post(headers={"x-request-id": own})
            assert headers["x-request-id"] == body["headers"]["x-request-id"] == own
            assert (await g.processor.entry()).request.request_id == own
        _, headers, body = await g.post()
        assert headers["x-request-id"] == body["headers"]["x-request-id"]


async def test_with_the_processor_gone_the_default_pool_serves(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        await g.processor.stop()
        for _ in range(4):
            status, headers, _ = await g.post()
            assert status == 200
            assert headers["x-kvgate-replica"].startswith("engine-")
        g.engines[0].reply = g.engines[1].reply = None
        await g.engines[0].stop()
        assert (await g.post())[0] == 200, "the fallback retries too"
        assert (await g.request("GET", "/readyz"))[0] == 200
        assert (await g.request("GET", "/healthz"))[0] == 200
        assert (await g.request("GET", "/admin"))[0] == 404


async def test_a_processor_that_hangs_costs_its_timeout_and_not_the_request(tmp_path: Path) -> None:
    def hasty(config: str) -> str:
        assert "message_timeout: 5s" in config
        return config.replace("message_timeout: 5s", "message_timeout: 0.2s")

    async with gateway(tmp_path, edit=hasty) as g:
        g.processor.hold = True
        status, headers, _ = await g.post()
        assert status == 200
        assert headers["x-kvgate-replica"].startswith("engine-")


@pytest.mark.parametrize("phase", ["request_headers", "request_body"])
async def test_a_processor_that_dies_while_it_is_asked_does_not_take_the_request_along(
    tmp_path: Path, phase: str
) -> None:
    async with gateway(tmp_path) as g:
        g.processor.hold = phase == "request_headers"

        def die_on_the_body(headers: dict[str, str], body: bytes) -> Decision:
            raise SystemError

        g.processor.decide = die_on_the_body
        request = asyncio.create_task(g.post())
        while await g.processor.heard.get() != phase:
            pass
        await g.processor.stop()
        assert (await request)[0] == 200


async def test_a_processor_that_dies_while_it_watches_a_stream_does_not_break_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for engine in g.engines:
            engine.reply = streaming([{"chunk": number} for number in range(20)])
        g.processor.watch = True
        request = asyncio.create_task(g.post())
        while await g.processor.heard.get() != "response_body":
            pass
        await g.processor.stop()
        status, _, body = await request
        assert (status, body.count(b"data: ")) == (200, 20)


async def test_a_stream_goes_on_when_its_replica_leaves_the_fleet(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        leaving, staying = g.engines
        last_chunk = asyncio.Event()
        leaving.reply = two_chunks(last_chunk.wait)
        g.processor.decide = lambda h, b: Decision("pool", (leaving.address,))
        async with g.session.post(f"{g.envoy.url}/v1/completions", json={}) as stream:
            assert await stream.content.read(5) == b"first"
            g.publish(topology(staying.replica))
            await g.envoy.until_endpoints("pool", [staying.port])
            last_chunk.set()
            assert await stream.content.read() == b"last"


async def test_a_replica_that_falls_silent_in_mid_stream_is_given_up(tmp_path: Path) -> None:
    async with gateway(tmp_path, request_timeout_s=0.3) as g:
        for engine in g.engines:
            engine.reply = two_chunks(asyncio.Event().wait)
        async with g.session.post(f"{g.envoy.url}/v1/completions", json={}) as stream:
            assert await stream.content.read(5) == b"first"
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.content.read()


def two_chunks(between: Callable[[], Awaitable[Any]]) -> Any:
    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await between()
        await response.write(b"last")
        await response.write_eof()
        return response

    return reply


async def test_the_processor_may_be_reached_over_tcp(tmp_path: Path) -> None:
    async with gateway(tmp_path, tcp=True) as g:
        g.processor.decide = lambda h, b: Decision("pool", (g.engines[1].address,))
        _, headers, _ = await g.post()
        assert headers["x-kvgate-replica"] == "engine-1"


async def test_http_2_is_served_beside_http_1(tmp_path: Path) -> None:
    pytest.importorskip("h2", reason="comes with envoy-data-plane, which needs Python 3.11")
    from tests.envoy.http2 import get

    async with gateway(tmp_path) as g:
        status, headers = await get("127.0.0.1", g.envoy.settings.server.port, "/v1/models")
        assert status == 200
        assert headers["x-kvgate-replica"].startswith("engine-")


async def test_a_silent_replica_is_left_for_another_one(tmp_path: Path) -> None:
    async with gateway(tmp_path, request_timeout_s=0.5) as g:
        silent, other = g.engines
        silent.reply = silence
        g.processor.decide = lambda h, b: Decision("pool", (silent.address, other.address))
        status, headers, _ = await g.post()
        assert (status, headers["x-kvgate-replica"]) == (200, other.name)


async def silence(request: object, body: bytes) -> None:
    await asyncio.Event().wait()

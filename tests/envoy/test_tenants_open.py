"""Without auth everybody is served, also while the processor is away. What a client proves itself with stays here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.engine import Engine, answering
from tests.envoy.gateway import Gateway
from tests.envoy.tenants import UPSTREAM_KEY, bearer, fleet_of, priced_engine, until_served

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROOFS = {**bearer("somebody"), "x-api-key": "sk-other", "proxy-authorization": "Basic eDp5", "x-kvgate-tenant": "x"}
BODY = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Engine]:
    upstream, _ = priced_engine()
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(engine: Engine) -> AsyncIterator[Gateway]:
    async with Gateway(**fleet_of(engine)) as running:
        await until_served(running, None)
        yield running


def seen_by(engine: Engine) -> dict[str, str]:
    return {name.lower(): value for name, value in engine.requests[-1][1].items()}


async def test_the_engine_gets_its_own_key_and_nothing_of_the_clients(gateway: Gateway, engine: Engine) -> None:
    async with gateway.http.post("/v1/chat/completions", json=BODY, headers=PROOFS) as response:
        assert response.status == 200
    assert seen_by(engine)["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert not seen_by(engine).keys() & (PROOFS.keys() - {"authorization"})


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]\n", b"data: [DONE]", b": bye", b"\n"])
async def test_a_stream_whose_first_chunk_is_timed_arrives_whole(
    gateway: Gateway, engine: Engine, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n' + end
    monkeypatch.setattr(engine, "reply", answering(200, sent, content_type="text/event-stream"))
    async with gateway.http.post("/v1/chat/completions", json={**BODY, "stream": True}) as response:
        assert await response.read() == sent


async def test_with_the_processor_gone_everybody_is_served_and_still_nothing_of_theirs_goes_upstream(
    gateway: Gateway, engine: Engine
) -> None:
    gateway.kill("serve")
    async with gateway.http.post("/v1/chat/completions", json=BODY, headers=PROOFS) as response:
        assert response.status == 200
        assert "x-kvgate-predicted-cached-tokens" not in response.headers, "nobody chose"
    assert not seen_by(engine).keys() & (PROOFS.keys() - {"authorization"})
    assert "somebody" not in seen_by(engine).get("authorization", "")
    await until_served(gateway, None)

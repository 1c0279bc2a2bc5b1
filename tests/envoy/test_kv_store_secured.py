"""Who gets at the KV store: TLS on both sides, passwords on both sides, and an Envoy of one's own."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError

from extproc.config.kv_store import KvStore
from extproc.config.topology import Topology
from extproc.control import render
from tests.envoy.gateway import until
from tests.envoy.kv_store import MB, PEMS, GuardedRedis, address, client, gateway, keys_of, until_served
from tests.envoy.plumbing import envoy, settings, validate
from tests.envoy.test_control_tls import install
from tests.ports import free_port
from tests.redis_server import RedisServer

KNOWN = {"ssl": True, "ssl_ca_certs": str(PEMS / "first.pem"), "host": "localhost"}
SHOWN = {"ssl_certfile": str(PEMS / "client.pem"), "ssl_keyfile": str(PEMS / "client.key")}
UPSTREAM_TLS = {"ca": str(PEMS / "first.pem"), "cert": str(PEMS / "client.pem"), "key": str(PEMS / "client.key")}
BUT_KV = "kv on >of-the-servers ~* -@all +get +set +exists +ping"


@contextlib.asynccontextmanager
async def two_of(**options: Any) -> AsyncIterator[tuple[GuardedRedis, GuardedRedis]]:
    async with GuardedRedis(**options) as a, GuardedRedis(**options) as b:
        assert isinstance(a, GuardedRedis)
        assert isinstance(b, GuardedRedis)
        yield a, b


async def error_of(store: Redis) -> str:
    """What one read is answered, if it is an error."""
    try:
        await store.get("chunk")
    except RedisError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as in test_control_tls
async def test_only_clients_of_the_ca_are_let_in_and_renewed_certificates_are_served(tmp_path: Path) -> None:
    tls = {**install("first", tmp_path), "client_ca": str(PEMS / "client.pem")}
    async with RedisServer() as a, gateway(a, tls=tls) as (_, port):
        async with client(port, **KNOWN, **SHOWN) as store:
            await until_served(store)
            await store.set("chunk", b"x" * 5 * MB)
            assert await store.get("chunk") == b"x" * 5 * MB
        for stranger in (KNOWN, {}):
            async with client(port, **stranger) as store:
                with pytest.raises((RedisError, ssl.SSLError)):
                    await store.get("chunk")
        install("second", tmp_path)
        trusting = {**KNOWN, **SHOWN, "ssl_ca_certs": str(PEMS / "second.pem")}

        async def renewed() -> bool:
            async with client(port, **trusting) as store:
                return not await error_of(store)

        await until(renewed, lambda: "the new certificate is not served")


@pytest.mark.parametrize("count", [1, 2], ids=["tcp_proxy", "redis_proxy"])
async def test_servers_are_reached_over_tls_with_a_certificate_of_ours(count: int) -> None:
    async with two_of(tls=True) as pair:
        servers = [f"localhost:{each.tls_port}" for each in pair[:count]]
        async with gateway(*servers, upstream_tls=UPSTREAM_TLS) as (_, port), client(port) as store:
            await until_served(store)
            for number in range(20):
                await store.set(f"chunk-{number}", b"x" * MB)
                assert await store.get(f"chunk-{number}") == b"x" * MB
            assert all([await keys_of(each) for each in pair[:count]])


@pytest.mark.parametrize(
    "wrong",
    [{"ca": str(PEMS / "second.pem")}, {"cert": str(PEMS / "second.pem"), "key": str(PEMS / "second.key")}],
    ids=["signed by another", "a certificate it does not know"],
)
async def test_a_server_that_is_not_who_it_should_be_or_does_not_know_us_gets_nothing(wrong: dict[str, str]) -> None:
    async with two_of(tls=True) as pair:
        servers = [f"localhost:{each.tls_port}" for each in pair]
        async with gateway(*servers, upstream_tls={**UPSTREAM_TLS, **wrong}) as (_, port), client(port) as store:

            async def nobody() -> bool:
                return await error_of(store) == "no upstream host"

            await until(nobody, lambda: "it was sent something, or the error is another")
            assert not await keys_of(pair[0])


async def test_a_client_needs_the_password_and_never_learns_that_of_the_servers() -> None:
    passwords = {"downstream_auth_password": "of-the-gateway", "auth_password": "of-the-servers"}
    async with two_of(password="of-the-servers") as pair, gateway(*pair, **passwords) as (running, port):
        async with client(port, password="of-the-gateway") as store:
            await until_served(store)
            await store.set("chunk", b"kv")
            assert await store.get("chunk") == b"kv"
        for wrong in (None, "of-the-servers", ""):
            async with client(port, password=wrong) as store:
                with pytest.raises((ResponseError, Disconnected), match=r"(?i)auth|password"):
                    await store.get("chunk")
        dump = await running.http.get(f"http://127.0.0.1:{running.admin_port}/config_dump")
        assert "of-the-" not in await dump.text()
        assert "of-the-" not in running.log


async def test_with_a_wrong_password_for_the_servers_clients_get_an_error() -> None:
    async with (
        two_of(password="of-the-servers") as pair,
        gateway(*pair, auth_password="wrong") as (_, port),
        client(port) as store,
    ):

        async def nobody() -> bool:
            return await error_of(store) == "no upstream host"

        await until(nobody, lambda: "another error, or none")


async def test_one_server_with_a_password_needs_it_from_the_gateway_only() -> None:
    async with (
        GuardedRedis(password="of-the-servers") as a,
        gateway(a, auth_password="of-the-servers") as (_, port),
        client(port) as store,
    ):
        await until_served(store)
        await store.set("chunk", b"kv")
        assert await keys_of(a) == {"chunk"}


async def test_what_the_user_at_the_servers_may_not_do_nobody_can_do_through_the_gateway() -> None:
    login = {"auth_username": "kv", "auth_password": "of-the-servers"}
    async with two_of(user=BUT_KV) as pair, gateway(*pair, **login) as (_, port), client(port) as store:
        await until_served(store)
        await store.set("chunk", b"kv")
        for command in (["CONFIG", "GET", "*"], ["FLUSHALL"], ["KEYS", "*"], ["DEL", "chunk"], ["SHUTDOWN"]):
            with pytest.raises(RedisError):
                await store.execute_command(*command)  # type: ignore[no-untyped-call]
        assert await store.get("chunk") == b"kv"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="envoy-data-plane needs Python 3.11")
@pytest.mark.parametrize("count", [1, 2], ids=["tcp_proxy", "redis_proxy"])
async def test_an_envoy_of_ones_own_serves_it_without_a_processor(tmp_path: Path, count: int) -> None:
    port = free_port()
    async with RedisServer() as a, RedisServer() as b:
        section = {"port": port, "servers": [f"localhost:{a.port}", address(b)][:count]}
        config = settings(tmp_path).model_copy(update={"kv_store": KvStore.model_validate(section)})
        rendered = render.render_static(config, Topology({}, {}, None), processor_target=f"127.0.0.1:{free_port()}")
        async with envoy(rendered, config, tmp_path), client(port) as store:
            await until_served(store)
            for number in range(20):
                await store.set(f"chunk-{number}", b"x" * MB)
                assert await store.get(f"chunk-{number}") == b"x" * MB
            assert all([await keys_of(each) for each in (a, b)[:count]])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="envoy-data-plane needs Python 3.11")
def test_envoy_takes_what_is_rendered_with_everything_in_it(tmp_path: Path) -> None:
    tls = {"cert": str(PEMS / "first.pem"), "key": str(PEMS / "first.key"), "client_ca": str(PEMS / "client.pem")}
    section = {
        "host": "0.0.0.0",
        "servers": ["redis-0.redis:6379", "10.0.0.1:6379", "[fd00::1]:6379"],
        "auth_username": "kv",
        "auth_password": "of-the-servers",
        "downstream_auth_password": "of-the-gateway",
        "tls": tls,
        "upstream_tls": UPSTREAM_TLS,
    }
    config = settings(tmp_path).model_copy(update={"kv_store": KvStore.model_validate(section)})
    validate(render.render_static(config, Topology({}, {}, None), processor_target="unix:/tmp/p.sock"), tmp_path)

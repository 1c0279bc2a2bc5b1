"""The TLS listener: the same proxy behind a certificate that can be replaced while it runs."""

from __future__ import annotations

import asyncio
import gc
import shutil
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.plumbing import gateway, until
from tests.ports import free_port

PEMS = Path(__file__).parent / "pems"


def install(name: str, folder: Path) -> dict[str, str]:
    """Put a certificate and its key in place by rename, as cert-manager and Kubernetes do."""
    for kind in ("key", "pem"):
        staged = folder / f"staged.{kind}"
        shutil.copy(PEMS / f"{name}.{kind}", staged)
        staged.replace(folder / f"server.{kind}")
    return {"cert": str(folder / "server.pem"), "key": str(folder / "server.key")}


def trusting(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name in names:
        context.load_verify_locations(PEMS / f"{name}.pem")
    return context


async def common_name(port: int) -> str:
    """Of the certificate that is served now."""
    context = trusting("first", "second")
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return next(value for part in certificate["subject"] for key, value in part if key == "commonName")


async def test_a_certificate_replaced_on_disk_is_served_without_a_restart(tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    port = free_port()
    async with gateway(tmp_path, tls={**install("first", certificates), "port": port}) as g:
        assert await common_name(port) == "first"
        install("second", certificates)

        async def renewed() -> bool:
            return await common_name(port) == "second"

        await until(renewed, "the new certificate is served")
        assert (await g.post())[0] == 200


async def test_https_serves_what_http_does(tmp_path: Path) -> None:
    port = free_port()
    async with gateway(tmp_path, tls={**install("first", tmp_path), "port": port}) as g:
        url = f"https://127.0.0.1:{port}"
        async with g.session.post(f"{url}/v1/chat/completions", json={}, ssl=trusting("first")) as reply:
            assert reply.status == 200
            assert (await reply.json())["headers"]["x-forwarded-proto"] == "https"
        async with g.session.get(f"{url}/nope", ssl=trusting("first")) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (404, "unknown_path")


async def test_http_2_is_agreed_on_by_alpn(tmp_path: Path) -> None:
    pytest.importorskip("h2", reason="comes with envoy-data-plane, which needs Python 3.11")
    from tests.envoy.http2 import get

    port = free_port()
    async with gateway(tmp_path, tls={**install("first", tmp_path), "port": port}):
        context = trusting("first")
        context.set_alpn_protocols(["h2"])
        status, headers = await get("127.0.0.1", port, "/v1/models", context)
        assert (status, headers["server"]) == (200, "kvgate")


# Python 3.10's asyncio leaves the transport of a refused TLS client to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_with_a_client_ca_only_its_clients_are_let_in(tmp_path: Path) -> None:
    port = free_port()
    tls = {**install("first", tmp_path), "port": port, "client_ca": str(PEMS / "client.pem")}
    async with gateway(tmp_path, tls=tls) as g:
        url = f"https://127.0.0.1:{port}/v1/models"
        with pytest.raises(aiohttp.ClientError):
            await g.session.get(url, ssl=trusting("first"))
        known = trusting("first")
        known.load_cert_chain(PEMS / "client.pem", PEMS / "client.key")
        async with g.session.get(url, ssl=known) as reply:
            assert reply.status == 200
    gc.collect()  # here, and not in whatever test runs next

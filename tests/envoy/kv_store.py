"""What tests of the KV store's listener run on: Redis servers with passwords and certificates, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.envoy.gateway import Gateway, until
from tests.ports import free_port
from tests.redis_server import RedisServer

PEMS = Path(__file__).parent / "pems"
MB = 1_000_000


class GuardedRedis(RedisServer):
    """A Redis that wants a password, has another user, or speaks TLS on `tls_port` to who shows `client.pem`.

    Args:
        user: as an ACL file has it: `kv on >secret ~* -@all +get`.
    """

    def __init__(self, *, password: str | None = None, user: str = "", tls: bool = False) -> None:
        super().__init__()
        self.password = password
        self.user = user
        self.tls_port = free_port() if tls else None

    def _options(self) -> list[str]:
        options: dict[str, str] = {}
        if self.password is not None:
            options["requirepass"] = self.password
        if self.tls_port is not None:
            options |= {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(PEMS / "first.pem"),
                "tls-key-file": str(PEMS / "first.key"),
                "tls-ca-cert-file": str(PEMS / "client.pem"),
            }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [*super()._options(), *words, *(["--user", *self.user.split()] if self.user else [])]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16)[:1] in (b"+", b"-")
        return False


@contextlib.asynccontextmanager
async def client(port: int, **options: Any) -> AsyncIterator[Redis]:
    """One that tries everything once, so that a test sees what happens. RESP2: redis_proxy knows no other."""
    connection = Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=30, **options)
    try:
        yield connection
    finally:
        await connection.aclose()


@contextlib.asynccontextmanager
async def gateway(*servers: RedisServer | str, **settings: Any) -> AsyncIterator[tuple[Gateway, int]]:
    """A gateway with a KV store over these servers, and the port that it listens on."""
    port = free_port()
    names = [each if isinstance(each, str) else address(each) for each in servers]
    async with Gateway(1, kv_store={"port": port, "servers": names, **settings}) as running:
        await until(lambda: listens(port), lambda: f"nobody listens on {port}:\n{running.log[-4000:]}")
        yield running, port


def address(server: RedisServer) -> str:
    return f"127.0.0.1:{server.port}"


def set_servers(running: Gateway, *servers: RedisServer) -> None:
    """Other servers, by a change of the configuration file."""
    running.config["kv_store"]["servers"] = list(map(address, servers))
    running.write_config()


async def listens(port: int) -> bool:
    """Whether a connection is taken."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def until_served(connection: Redis, *keys: str) -> None:
    """Waits until reading each of these keys is no error."""

    async def served() -> bool:
        try:
            for key in keys or ("any",):
                await connection.exists(key)
        except RedisError:
            return False
        return True

    await until(served, lambda: "the store answers with errors only")


async def keys_of(server: RedisServer) -> set[str]:
    """Which it keeps, asked of itself."""
    password = server.password if isinstance(server, GuardedRedis) else None
    async with client(server.port, password=password) as direct:
        return {key.decode() for key in await direct.keys()}

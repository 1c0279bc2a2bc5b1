"""A tiny upstream, and what it may answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from extproc.config.topology import Replica
from tests.ports import free_port


@dataclass
class Engine:
    """A tiny upstream. It echoes what it is sent, unless told to answer something else."""

    name: str
    port: int = field(default_factory=free_port)
    reply: Callable[[web.Request, bytes], Awaitable[web.StreamResponse]] | None = None
    requests: list[tuple[str, dict[str, str], int]] = field(default_factory=list)
    health_status: int = 200
    runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def replica(self) -> Replica:
        return Replica(self.name, "127.0.0.1", self.port)

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/health", self._health)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self.runner is not None:
            runner, self.runner = self.runner, None
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.health_status)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.path_qs, dict(request.headers), len(body)))
        if self.reply is not None:
            return await self.reply(request, body)
        headers = {key.lower(): value for key, value in request.headers.items()}
        return web.json_response({"engine": self.name, "path": request.path_qs, "headers": headers, "bytes": len(body)})


def answering(status: int = 200, body: Any = b"", **headers: str) -> Any:
    """A reply that is always the same; a dict becomes JSON."""

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        if isinstance(body, dict):
            named.setdefault("content-type", "application/json")
        return web.Response(status=status, body=content, headers=named)

    return reply


def streaming(events: Iterable[Any]) -> Any:
    """A reply of server-sent events."""

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            await response.write(f"data: {data}\n\n".encode())
        await response.write_eof()
        return response

    return reply

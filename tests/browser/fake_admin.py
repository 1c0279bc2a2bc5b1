"""A gateway that does not exist: its admin API, in the shapes of admin.proto, and the real dashboard."""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any

from aiohttp import web

from extproc.dashboard import asset
from tests.browser.sample_fleet import CACHES, STATS, decision, receipt, replica, tenant
from tests.ports import free_port

UP_S = 4 * 3600.0


class FakeAdmin:
    """Serves a made-up fleet. `status`, `replicas` and `decisions` are the test's to change;
    `answering` is cleared to let calls hang, `broken` is a status to answer them with.

    Args:
        replicas: how many.
        now: what its clock says, in unix seconds; None: the right time.
        token: what calls must bring; empty: nothing.
    """

    def __init__(self, replicas: int = 4, decisions: int = 120, *, now: float | None = None, token: str = "") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self.now = now = time.time() if now is None else now
        self.started_unix_s = now - UP_S
        self.asked: list[str] = []
        self.broken = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.status: dict[str, Any] = {"ready": True, "envoys": 1, "config_error": "", "warnings": []}
        self.replicas = [replica(number) for number in range(1, replicas + 1)]
        self.decisions: list[dict[str, Any]] = []
        self._random = random.Random(7)
        self._runner: web.AppRunner | None = None
        for back in range(decisions, 0, -1):
            self.decide(now - back * min(4.0, 540 / max(decisions, 1)))

    async def start(self) -> None:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/dashboard", self._page)
        app.router.add_get("/dashboard/{file:.*}", self._page)
        for path in ("status", "stats", "replicas", "decisions", "caches", "tenants"):
            app.router.add_get(f"/admin/{path}", getattr(self, f"_{path}"))
        app.router.add_get("/admin/decisions/{id}", self._decision)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> FakeAdmin:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def decide(self, at_unix_s: float, **changes: Any) -> dict[str, Any]:
        """Adds a decision as a busy gateway would, with `changes`."""
        names = [each["name"] for each in self.replicas] or ["gone"]
        made = decision(len(self.decisions) + 1, at_unix_s, self._random.choice(names), self._random) | changes
        self.decisions.append(made)
        return made

    def serve(self, requests: int) -> None:
        """Time goes on by a second in which so many requests are routed."""
        self.now += 1
        for _ in range(requests):
            self.decide(self.now)
        weights = [each["weight"] for each in self.replicas if each["state"] == "serving"] or [1]
        for each in self.replicas:
            if each["state"] == "serving":
                each["routed"] += requests * each["weight"] / sum(weights)

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        admin = request.path.startswith("/admin/")
        if admin:
            await self.answering.wait()
        if admin and self.broken:
            return web.json_response({"code": 14, "message": "The processor cannot be asked (UF)."}, status=self.broken)
        if admin and self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return web.json_response({"code": 16, "message": "A token is needed."}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _page(self, request: web.Request) -> web.Response:
        found = asset(request.match_info.get("file", ""))
        if found is None:
            return web.json_response({"code": 5, "message": "No such file."}, status=404)
        return web.Response(body=found[1], headers={"content-type": found[0]})

    async def _status(self, _: web.Request) -> web.Response:
        started = self.started_unix_s
        times = {"started_unix_s": started, "uptime_s": self.now - started, "config_loaded_unix_s": started}
        inflight = sum(each["inflight"] for each in self.replicas)
        return web.json_response({"version": "0.1.0", **times, "requests_inflight": inflight, **self.status})

    async def _stats(self, _: web.Request) -> web.Response:
        times = {"started_unix_s": self.started_unix_s, "uptime_s": self.now - self.started_unix_s}
        return web.json_response({**times, **STATS})

    async def _replicas(self, _: web.Request) -> web.Response:
        return web.json_response({"replicas": self.replicas})

    async def _decisions(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", 100)) or 100
        after, before = float(request.query.get("after_id", 0)), float(request.query.get("before_id", 0)) or math.inf
        kept = self.decisions[-10_000:]
        found = [each for each in kept if after < each["id"] < before][-min(limit, 1000) :]
        return web.json_response({"decisions": found[::-1], "kept": len(kept)})

    async def _decision(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        if not 0 < number <= len(self.decisions):
            return web.json_response({"code": 5, "message": "No such decision is kept."}, status=404)
        found = self.decisions[number - 1]
        return web.json_response({**found, "receipt": receipt(found, self.replicas) if found["replica"] else None})

    async def _caches(self, _: web.Request) -> web.Response:
        return web.json_response(CACHES)

    async def _tenants(self, _: web.Request) -> web.Response:
        spent = (("team-a", 12.41, 20, 9022), ("team-b", 18.9, 20, 7120), ("batch", 9.79, -1, 3100))
        return web.json_response({"tenants": [tenant(*each, self.now + 7200) for each in spent]})

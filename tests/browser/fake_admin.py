"""The admin API of a gateway that does not exist, with the shapes of proto/kvgate/admin/v1/admin.proto, and the dashboard."""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any

from aiohttp import web

from extproc.dashboard import asset
from tests.ports import free_port

UP_S = 4 * 3600.0
REASONS = ("warm", "warm", "warm", "spread", "saturated")


class FakeAdmin:
    """Serves a fleet whose numbers move with every answer; `status`, `replicas` and `decisions` are the test's to change.
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
        self.replicas = [_replica(number) for number in range(1, replicas + 1)]
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
        number, chance = len(self.decisions) + 1, self._random
        prompt = chance.randrange(200, 9000)
        reason = chance.choice(REASONS)
        matched = int(prompt * (chance.uniform(0.6, 0.98) if reason == "warm" else chance.uniform(0, 0.2)))
        predicted = 0.03 + (prompt - matched) / 8000
        name = chance.choice(self.replicas)["name"] if self.replicas else "gone"
        cache = chance.choice(("miss", "miss", "miss", "bypass", "exact"))
        answered = cache == "exact"
        decision = {
            "id": number, "at_unix_s": at_unix_s, "request_id": f"{chance.getrandbits(64):016x}", "model": chance.choice(("chat-large", "vision")),
            "tenant": chance.choice(("team-a", "team-b", "")), "replica": "" if answered else name, "served_by": "" if answered else name,
            "reason": "" if answered else reason, "prompt_tokens": prompt, "matched_tokens": 0 if answered else matched, "restorable_tokens": 0,
            "cached_tokens": -1 if answered else max(0, matched - chance.randrange(90)), "predicted_ttft_s": 0 if answered else predicted,
            "ttft_s": -1 if answered or chance.random() < 0.3 else predicted * chance.uniform(0.8, 1.5), "status": 200,
            "duration_s": chance.uniform(0.5, 6), "cache": cache, "receipt": None,
        }  # fmt: skip
        decision.update(changes)
        self.decisions.append(decision)
        return decision

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
        tokens = {"input": 48_210_331, "cached": 35_402_118, "output": 6_203_114}
        models = [
            {"model": "chat-large", "requests_by_status": {"200": 15_310, "429": 41, "503": 6, "0": 22}, "tokens": tokens, "cost_usd": 31.2},
            {"model": "vision", "requests_by_status": {"200": 4_208}, "tokens": {"input": 9e6, "cached": 7e6, "output": 8e5}, "cost_usd": 9.9},
        ]  # fmt: skip
        cache = {"exact": 3120, "semantic": 214, "misses": 9822, "bypassed": 6400, "hit_rate": 0.2534}
        return web.json_response(
            {"started_unix_s": self.started_unix_s, "uptime_s": self.now - self.started_unix_s, "requests": 19_587, "requests_inflight": 9, "models": models, "cache": cache,
             "tokens": tokens, "cost_usd": 41.1, "rate_limited": 41, "budget_rejected": 3, "failovers": 12, "replicas": {}, "tenants": {}}
        )  # fmt: skip

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
        decision = self.decisions[number - 1]
        return web.json_response({**decision, "receipt": _receipt(decision, self.replicas) if decision["replica"] else None})

    async def _caches(self, _: web.Request) -> web.Response:
        exact = {"enabled": True, "hits": 3120, "misses": 9822, "stored": 9790, "evicted": 120, "garbage": 0, "dropped": 2, "entries": 8123, "held_bytes": 61_203_334}
        semantic = {"enabled": True, "same": 150, "learned": 64, "explored": 40, "agreed": 38, "misses": 8100, "stored": 8000, "without_vector": 0, "refused": {"numbers": 31, "negation": 9}}  # fmt: skip
        return web.json_response({"exact": exact, "semantic": semantic})

    async def _tenants(self, _: web.Request) -> web.Response:
        def tenant(name: str, spent: float, budget: float, requests: int) -> dict[str, Any]:
            tokens = {"input": requests * 2400, "cached": requests * 1700, "output": requests * 310}
            return {"name": name, "spent_usd": spent, "budget_usd": budget, "window_ends_unix_s": self.now + 7200, "rpm": 600, "tpm": 200_000,
                    "requests": requests, "rate_limited": requests // 300, "budget_rejected": 0, "tokens": tokens, "cache_scope": name}  # fmt: skip

        named = [tenant("team-a", 12.41, 20, 9022), tenant("team-b", 18.9, 20, 7120), tenant("batch", 9.79, -1, 3100)]
        return web.json_response({"tenants": named})


def _replica(number: int) -> dict[str, Any]:
    wave = random.Random(number)
    speed = wave.choice((7000, 7400, 8100))
    return {
        "name": f"replica-{number}", "address": f"10.0.{number // 250}.{number % 250}:8000", "pool": "vllm", "provider": "vllm",
        "models": ["chat-large", "vision"], "state": "serving", "weight": round(wave.uniform(0.4, 2.0), 2), "inflight": wave.randrange(9),
        "others_inflight": 0, "wait_s": wave.uniform(0, 0.3), "queued_tokens": wave.randrange(4000), "prefill_tokens_per_s": speed * wave.uniform(0.9, 1.1),
        "base_s": wave.uniform(0.025, 0.05), "index_tokens": wave.randrange(120_000, 455_000), "capacity_tokens": 460_000,
        "host_tier_tokens": 1_900_000 if number % 2 else 0, "kv_usage": wave.uniform(0.05, 0.7), "routed": float(wave.randrange(2000, 9000)), "failures": 0,
        "latency_s": wave.uniform(1, 4), "warm_share": wave.uniform(0.5, 0.9), "recent_ttft_s": [wave.lognormvariate(-2.2, 0.5) for _ in range(60)],
        "from": "config", "changed": False,
    }  # fmt: skip


def _receipt(decision: dict[str, Any], replicas: list[dict[str, Any]]) -> dict[str, Any]:
    lines = []
    for replica in replicas:
        chosen = replica["name"] == decision["replica"]
        matched = decision["matched_tokens"] if chosen else int(decision["matched_tokens"] * 0.13 * (len(lines) % 4))
        restored = (decision["prompt_tokens"] - matched) // 3 if replica["host_tier_tokens"] and not chosen else 0
        uncached = decision["prompt_tokens"] - matched - restored
        wait_s, base_s, speed = round(replica["wait_s"], 4), round(replica["base_s"], 4), replica["prefill_tokens_per_s"]
        terms = {"base_s": base_s, "wait_s": wait_s, "own_s": uncached / speed, "copy_s": uncached / speed * 0.21}
        terms |= {"batch_s": 0.005 * replica["inflight"], "credit_s": -uncached / speed * 0.1, "restore_s": restored / 60_000}
        line = {"name": replica["name"], "cost": sum(terms.values()), "wait_s": wait_s, "matched_tokens": matched, "base_s": base_s}
        line |= {"ttft_s": base_s + wait_s + uncached / speed, "uncached_tokens": uncached, "tokens_per_s": round(speed)}
        lines.append({**line, "inflight": replica["inflight"], "restorable_tokens": restored, "terms": terms})
    lines.sort(key=lambda line: (line["name"] != decision["replica"], line["cost"]))
    strategy = {"strategy": "prefix_kv_aware", "reason": decision["reason"], "prompt_tokens": decision["prompt_tokens"]}
    return {**strategy, "replica": decision["replica"], "replicas": lines}

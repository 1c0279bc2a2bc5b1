"""The endpoints beside inference: models, health, metrics, tokenise, cache reset, and the simulator's own /sim/*."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from aiohttp import web

from extproc.sim.dialects import DIALECTS
from extproc.sim.errors import Refused, malformed
from extproc.sim.metrics import render
from extproc.sim.rank import Rank
from extproc.sim.replica import Replica

_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
_VALUE = re.compile(r" [0-9.e+-]+$", re.MULTILINE)
_HUGE_BYTES = 10_000_000


class Operations:
    """Answers what operators, health checks and tests ask."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._started_s = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/load", self.load),
            web.post("/tokenize", self.tokenize),
            web.post("/reset_prefix_cache", self.reset_prefix_cache),
            web.get("/sim/state", self.state),
            web.get("/sim/faults", self.fault),
            web.post("/sim/faults", self.set_fault),
        ]

    async def models(self, http: web.Request) -> web.Response:
        settings = self._replica.settings
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._started_s,
                "owned_by": "vllm",
                "root": name,
                "parent": settings.models[0] if name in settings.loras else None,
                "max_model_len": settings.context_tokens,
            }
            for name in (*settings.models, *settings.loras)
        ]
        return _json({"object": "list", "data": cards})

    async def health(self, http: web.Request) -> web.Response:
        return web.Response(status=200 if self._replica.faults.healthy else 503)

    async def metrics(self, http: web.Request) -> web.StreamResponse:
        text = render((rank.metrics, rank.engine.stats) for rank in self._replica.ranks)
        match self._replica.faults.current.mode:
            case "metrics_garbled":
                text = _VALUE.sub(" plenty", text)
            case "metrics_huge":
                text = text.ljust(_HUGE_BYTES, "\n")
            case "metrics_hang":
                response = web.StreamResponse(headers=_TEXT)
                await response.prepare(http)
                await response.write(text[:100].encode())
                await asyncio.get_running_loop().create_future()
        return web.Response(body=text.encode(), headers=_TEXT)

    async def load(self, http: web.Request) -> web.Response:
        stats = [rank.engine.stats for rank in self._replica.ranks]
        return _json({"server_load": sum(each.running + each.waiting for each in stats)})

    async def tokenize(self, http: web.Request) -> web.Response:
        try:
            body = orjson.loads(await http.read())
            if not isinstance(body, Mapping):
                raise malformed("the body must be a JSON object")
            self._replica.model_of(body.get("model"))
            path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
            ids = DIALECTS[path].prompts(body, self._replica.media)[0].token_ids
        except orjson.JSONDecodeError as error:
            return _json(malformed(f"JSON decode error: {error}").openai(), 400)
        except Refused as refused:
            return _json(refused.openai(), refused.status)
        context = self._replica.settings.context_tokens
        return _json({"count": len(ids), "max_model_len": context, "tokens": ids, "token_strs": None})

    async def reset_prefix_cache(self, http: web.Request) -> web.Response:
        """Clear the cache; like vLLM's, it does nothing while requests are in the engine, and says 200 either way."""
        cleared = [rank.engine.reset_prefix_cache() for rank in self._replica.ranks]
        return _json({"success": all(cleared)})

    async def state(self, http: web.Request) -> web.Response:
        """Of the replica as a whole; `engine` and `cache` are the first rank's, `ranks` has those of each."""
        replica = self._replica
        ranks = [self._rank(rank) for rank in replica.ranks]
        journal = replica.journal
        return _json(
            {
                "name": replica.settings.name,
                "received": journal.by_endpoint.total(),
                "served": journal.by_outcome["served"],
                "aborted": journal.by_outcome["aborted"],
                "outcomes": dict(journal.by_outcome),
                "by_endpoint": dict(journal.by_endpoint),
                "running": sum(rank["engine"]["running"] for rank in ranks),
                "waiting": sum(rank["engine"]["waiting"] for rank in ranks),
                **ranks[0],
                "ranks": ranks,
                "fault": msgspec.to_builtins(replica.faults.current),
                "requests": journal.summaries(),
            }
        )

    def _rank(self, rank: Rank) -> dict[str, Any]:
        cache = rank.engine.cache
        return {
            "engine": msgspec.to_builtins(rank.engine.stats),
            "cache": {
                "blocks": cache.total,
                "blocks_used": cache.used,
                "hashes": cache.cached_hashes,
                "tokens": cache.cached_hashes * self._replica.settings.engine.block_size,
            },
        }

    async def fault(self, http: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(self._replica.faults.current))

    async def set_fault(self, http: web.Request) -> web.Response:
        try:
            fault = self._replica.faults.set(await http.read())
        except Refused as refused:
            return _json(refused.openai(), refused.status)
        return _json(msgspec.to_builtins(fault))


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")

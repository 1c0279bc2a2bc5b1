"""What tests of tenants run on: priced models, an engine that uses as many tokens as it is told, a key a tenant."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from openai import AsyncOpenAI

from tests.envoy.engine import Engine
from tests.envoy.gateway import Gateway, until

UPSTREAM_KEY = "upstream-credential-4711"
PRICES = {"cost_per_1k_input": 1.0, "cost_per_1k_cached_input": 0.1, "cost_per_1k_output": 2.0}
USAGE = {"prompt": 100, "cached": 0, "completion": 10}
COST_USD = 0.12
"""Of `USAGE` at `PRICES`."""


@dataclass
class Priced:
    """An engine's replies. A request says in its field `engine` what to do: `{prompt, cached, completion}` for its
    usage, `status` to fail, `hold` to wait before the last words until `let_go` is set.

    Attributes:
        holding: is set while a reply is held.
    """

    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse:
        asked = json.loads(body)
        script = asked.get("engine", {})
        if "status" in script:
            return web.json_response({"error": {"message": "as you wish"}}, status=script["status"])
        counts = {**USAGE, **script}
        usage = {
            "prompt_tokens": counts["prompt"],
            "completion_tokens": counts["completion"],
            "total_tokens": counts["prompt"] + counts["completion"],
            "prompt_tokens_details": {"cached_tokens": counts["cached"]},
        }
        if asked.get("stream"):
            return await self._stream(request, asked, usage)
        await self._hold(asked)
        message = {"role": "assistant", "content": "word " * counts["completion"]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        )

    async def _stream(self, request: web.Request, asked: dict[str, Any], usage: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}

        async def send(**event: Any) -> None:
            await response.write(b"data: " + json.dumps({**chunk, **event}).encode() + b"\n\n")

        for _ in range(usage["completion_tokens"]):
            await send(choices=[{"index": 0, "delta": {"content": "word "}, "finish_reason": None}])
        await self._hold(asked)
        await send(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        if (asked.get("stream_options") or {}).get("include_usage"):
            await send(choices=[], usage=usage)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _hold(self, asked: dict[str, Any]) -> None:
        if asked.get("engine", {}).get("hold"):
            self.holding.set()
            await self.let_go.wait()
            self.holding.clear()


def priced_engine() -> tuple[Engine, Priced]:
    """Not started."""
    replies = Priced()
    return Engine("engine", reply=replies), replies


def fleet_of(engine: Engine) -> dict[str, Any]:
    """Sections of a configuration whose models `m` and `other` are served by an engine with a key of its own."""
    provider = {"name": "p", "base_url": f"http://{engine.address}", "api_key": UPSTREAM_KEY, "metrics_path": ""}
    return {
        "replicas": 0,
        "providers": [provider],
        "models": [{"name": name, "deployments": [{"provider": "p", **PRICES}]} for name in ("m", "other")],
    }


def key_of(tenant: str) -> str:
    """The plain key of a tenant."""
    return f"sk-secret-of-{tenant}"


def key(tenant: str, **rules: Any) -> dict[str, Any]:
    """An entry of `auth.api_keys`."""
    return {"key": key_of(tenant), "tenant": tenant, **rules}


def bearer(tenant: str) -> dict[str, str]:
    """What a client of that tenant sends."""
    return {"authorization": f"Bearer {key_of(tenant)}"}


def sdk(gateway: Gateway, tenant: str) -> AsyncOpenAI:
    """OpenAI's SDK with the key of a tenant."""
    return gateway.openai.with_options(api_key=key_of(tenant))


@dataclass(frozen=True)
class Reply:
    """Of a blocking request, or of one that was refused."""

    status: int
    headers: dict[str, str]
    body: Any


async def ask(gateway: Gateway, tenant: str | None, *, text: str = "Hello", **fields: Any) -> Reply:
    """A blocking chat request with the key of a tenant, or without one."""
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": text}], **fields}
    headers = bearer(tenant) if tenant else {}
    headers["content-type"] = "application/json"
    data = io.BytesIO(json.dumps(body).encode())
    async with gateway.http.post("/v1/chat/completions", data=data, headers=headers) as response:
        content = await response.read()
        named = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, named, json.loads(content) if content[:1] == b"{" else content)


async def metrics(gateway: Gateway) -> str:
    """The page that Prometheus reads."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        return await response.text()


async def spent_usd(gateway: Gateway, tenant: str) -> float:
    """What a tenant has spent, as the gateway knows it now."""
    prefix = f'kvgate_budget_spent_usd{{tenant="{tenant}"}} '
    lines = (await metrics(gateway)).splitlines()
    return next((float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)), 0.0)


async def until_spent(gateway: Gateway, tenant: str, usd: float) -> None:
    """Waits until just so much is counted: requests are settled a moment after their end."""

    async def counted() -> bool:
        return abs(await spent_usd(gateway, tenant) - usd) < 1e-9

    await until(counted, lambda: f"{tenant} has spent {usd} USD; log:\n{gateway.log[-3000:]}")


async def until_served(gateway: Gateway, tenant: str | None) -> None:
    """Waits until a request of a tenant is let in and routed."""

    async def served() -> bool:
        return "x-kvgate-predicted-cached-tokens" in (await ask(gateway, tenant)).headers

    await until(served, lambda: f"{tenant} is served; log:\n{gateway.log[-3000:]}")

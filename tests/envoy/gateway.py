"""`kvgate run` under test: start it, speak to it, hurt it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import psutil
import yaml
from openai import AsyncOpenAI

from tests.ports import free_ports

DEADLINE_S = 30.0


class Gateway:
    """A running `kvgate run`.

    Args:
        replicas: how many simulated replicas; or the addresses of engines that run already, by name.
        provider: further settings of the provider.
        model: what clients call it.
        sections: whole sections of the configuration, laid over the default.
    """

    def __init__(
        self,
        replicas: int | Mapping[str, str] = 3,
        provider: dict[str, Any] | None = None,
        *,
        model: str = "m",
        **sections: Any,
    ) -> None:
        self.port, self.admin_port, self.operations_port = free_ports(3)
        self.model = model
        self.url = f"http://127.0.0.1:{self.port}"
        self.operations_url = f"http://127.0.0.1:{self.operations_port}"
        mock: dict[str, Any] = {}
        if isinstance(replicas, int):
            mock = {"type": "mock", "tokens_per_second": 2000, "prefill_tokens_per_second": 50_000}
            replicas = {f"r{i}": f"http://127.0.0.1:{port}" for i, port in enumerate(free_ports(replicas))}
        self.replicas = dict(replicas)
        self.dir = Path(tempfile.mkdtemp(prefix="kvgate-test-"))
        self.config: dict[str, Any] = {
            "server": {"host": "127.0.0.1", "port": self.port, "log_level": "DEBUG"},
            "envoy": {"admin_port": self.admin_port, "concurrency": 1},
            "operations": {"port": self.operations_port},
            "processor": {"run_dir": str(self.dir / "run"), "drain_timeout_s": 5},
            "providers": [
                {
                    "name": "sims",
                    **mock,
                    "replicas": [{"name": name, "url": url} for name, url in self.replicas.items()],
                    **(provider or {}),
                }
            ],
            "models": [{"name": model, "deployments": [{"provider": "sims"}]}],
        }
        self.config = laid_over(self.config, sections)
        self._log = self.dir / "log"

    async def __aenter__(self) -> Gateway:
        self.write_config()
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "extproc", "run", "-c", str(self.dir / "kvgate.yaml"), stdout=log, stderr=log
            )
        self.http = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(60))
        self.openai = AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)
        try:
            await self.until_logged("KVGate serves on")
            first_rank = "~0" if self.config["providers"][0].get("data_parallel_size", 1) > 1 else ""
            for name in self.replicas:
                await self.until_logged(f"replica {name}{first_rank} serves")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        await self.openai.close()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self.process.wait(), DEADLINE_S)
        if error is not None:
            print(self.log[-20_000:])
        shutil.rmtree(self.dir)

    @property
    def log(self) -> str:
        """All that the gateway and its children have printed so far."""
        return self._log.read_text(errors="replace")

    def write_config(self) -> None:
        """Puts `config` where the gateway reads it, in one step."""
        staged = self.dir / "kvgate.yaml.tmp"
        staged.write_text(yaml.safe_dump(self.config))
        staged.replace(self.dir / "kvgate.yaml")

    @contextlib.asynccontextmanager
    async def configured(self, **sections: Any) -> AsyncIterator[None]:
        """Other sections while it runs, and then again its own: for what takes effect without a start."""
        own = self.config
        try:
            await self.reconfigure(laid_over(own, sections))
            yield
        finally:
            await self.reconfigure(own)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Another configuration, which must be a valid one; returns when it is in force."""
        reloads = self.log.count("configuration reloaded")
        self.config = config
        self.write_config()
        await self.until_logged("configuration reloaded", times=reloads + 1)

    async def until_whole(self) -> None:
        """Waits until all replicas run and serve, whatever was done to them or to the processor before."""
        await until(self._whole, lambda: self.log[-4000:])

    async def _whole(self) -> bool:
        try:
            for name in self.replicas:
                await self.sim_state(name)
            async with self.http.get(f"{self.operations_url}/admin/replicas") as response:
                listed = (await response.json())["replicas"] if response.status == 200 else []
        except aiohttp.ClientError:
            return False
        return bool(listed) and all(each["state"] == "serving" for each in listed)

    def pid(self, command: str) -> int:
        """The pid of the child whose command line holds `command`: `serve`, `envoy`, or a replica's name."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie, just killed
                if command in child.cmdline() or (command == "envoy" and child.name() == "envoy"):
                    return child.pid
        raise LookupError(command)

    def kill(self, command: str) -> None:
        """Ends a child with SIGKILL."""
        os.kill(self.pid(command), signal.SIGKILL)

    async def until_logged(self, text: str, *, times: int = 1) -> None:
        """Waits for a line of the log."""
        await until(lambda: self.log.count(text) >= times, lambda: f"{text!r} in the log:\n{self.log[-4000:]}")

    async def sim_state(self, replica: str) -> dict[str, Any]:
        """What a simulated replica says of itself."""
        async with self.http.get(f"{self.replicas[replica]}/sim/state") as response:
            state: dict[str, Any] = await response.json()
            return state

    async def fault(self, replica: str, **fault: Any) -> None:
        """Sets a fault switch of a simulated replica."""
        async with self.http.post(f"{self.replicas[replica]}/sim/faults", json=fault) as response:
            assert response.status == 200, await response.text()

    async def chat(self, *content: Any, **fields: Any) -> aiohttp.ClientResponse:
        """A blocking chat request; the response is read whole."""
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        body = {"model": self.model, "max_tokens": 2, "messages": [{"role": "user", "content": parts}], **fields}
        async with self.post(body) as response:
            await response.read()
            return response

    async def counts_no_request(self) -> bool:
        """Whether the gateway believes every replica idle, as the log of one more decision says."""
        await self.chat(f"{time.monotonic()}")
        last = next(line for line in reversed(self.log.splitlines()) if "prefix_kv_aware/" in line)
        return last.count("inflight=0") == len(self.replicas)

    def post(self, body: Any, path: str = "/v1/chat/completions") -> Any:
        """A POST of a JSON body, of any size."""
        data = io.BytesIO(json.dumps(body).encode())
        return self.http.post(path, data=data, headers={"content-type": "application/json"})


def laid_over(config: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """A configuration with further sections: what is a mapping in both is merged."""
    merged = {
        name: {**config.get(name, {}), **content} if isinstance(content, dict) else content
        for name, content in sections.items()
    }
    return {**config, **merged}


async def until(condition: Any, describe: Any, deadline_s: float = DEADLINE_S) -> None:
    """Waits until `condition()` holds; it may be a coroutine function.

    Raises:
        TimeoutError: with what `describe()` says.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + deadline_s
    while True:
        holds = condition()
        if asyncio.iscoroutine(holds):
            holds = await holds
        if holds:
            return
        if loop.time() > give_up_s:
            raise TimeoutError(describe())
        await asyncio.sleep(0.02)

"""Real engines, LMCache and Redis, running: started together, cleared between cells, stopped whatever happens."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.common.errors import BenchFailed
from bench.common.gateway import gateway
from bench.common.ports import free_ports
from bench.common.processes import answers, find, running, until_ready
from bench.engine import counters
from bench.engine.commands import Command, EnginePorts, Setup, lmcache, redis, vllm
from bench.engine.options import Options

_ENGINE_WITHIN_S = 900.0  # a 7B model's first start compiles and captures graphs
_STORE_WITHIN_S = 60.0
_RESET_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Replica:
    """An engine that serves."""

    name: str
    url: str
    ports: EnginePorts

    def metrics(self) -> dict[str, float]:
        return counters.read(_fetch(f"{self.url}/metrics"))


@dataclass(frozen=True, slots=True)
class Stage:
    """A setup that serves.

    Args:
        commands: what was started, as a person would type it.
    """

    replicas: tuple[Replica, ...]
    lmcache_url: str | None
    redis_port: int | None
    commands: tuple[str, ...]

    def clear(self) -> None:
        """Empties every cache: prefixes, images, vision features, LMCache's memory, Redis."""
        for replica in self.replicas:
            _fetch(f"{replica.url}/reset_mm_cache", b"")
            _fetch(f"{replica.url}/reset_encoder_cache", b"")
            _until_reset(replica)
        if self.lmcache_url:
            _fetch(f"{self.lmcache_url}/cache/clear", b"")
        if self.redis_port:
            _redis(self.redis_port, "FLUSHALL SYNC")

    def forget_prefixes(self) -> None:
        """Empties the engines' own KV caches; what is behind them stays."""
        for replica in self.replicas:
            _until_reset(replica)

    def redis_counters(self) -> dict[str, float]:
        """Of the remote store: values found, and bytes sent to whoever read them. Empty without one."""
        return counters.read_redis(_redis(self.redis_port, "INFO stats")) if self.redis_port else {}

    def counters(self) -> dict[str, dict[str, float]]:
        """By replica."""
        return {replica.name: replica.metrics() for replica in self.replicas}


class Stages:
    """Setups that serve, at most `options.hardware.alive` at a time; the one that was used longest ago has to go.

    Args:
        folder: new, for their logs.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._alive: OrderedDict[Setup, tuple[contextlib.ExitStack, Stage]] = OrderedDict()
        self._started = 0

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as all_of_them:  # the others are stopped even if stopping one is interrupted
            for stack, _ in self._alive.values():
                all_of_them.push(stack)
            self._alive.clear()

    def keep(self, needed: Collection[Setup]) -> None:
        """Stops the others."""
        for setup in [each for each in self._alive if each not in needed]:
            self._alive.pop(setup)[0].close()

    def get(self, setup: Setup) -> Stage:
        """The setup, started if it is not alive.

        Raises:
            BenchFailed: a program is missing, or does not start.
        """
        if setup not in self._alive:
            while len(self._alive) >= self._options.hardware.alive:
                self._alive.popitem(last=False)[1][0].close()
            self._started += 1
            folder = self._folder / f"{self._started}"
            folder.mkdir(parents=True)
            with contextlib.ExitStack() as stack:
                stage = stack.enter_context(_stage(self._options, setup, folder))
                self._alive[setup] = (stack.pop_all(), stage)
        self._alive.move_to_end(setup)
        return self._alive[setup][1]


@contextlib.contextmanager
def _stage(options: Options, setup: Setup, folder: Path) -> Iterator[Stage]:
    lines: list[str] = []
    with contextlib.ExitStack() as stack:
        lmcache_url = lmcache_port = redis_port = store_port = None
        if setup.offload == "redis":
            redis_port, store_port = stack.enter_context(_remote_store(folder, lines))
        if setup.offload != "none":
            lmcache_port, http_port = free_ports(2)
            lmcache_url = f"http://127.0.0.1:{http_port}"
            store = _start(stack, folder, lines, lmcache(options, setup, lmcache_port, http_port, store_port))
            healthy = f"{lmcache_url}/healthcheck"
            store.wait(lambda: answers(healthy), _STORE_WITHIN_S)
        ports = [EnginePorts(*free_ports(3)) for _ in range(setup.replicas)]
        started = [
            _start(stack, folder, lines, vllm(options, setup, number, each, lmcache_port))
            for number, each in enumerate(ports)
        ]
        replicas = [Replica(f"vllm-{n}", f"http://127.0.0.1:{each.http}", each) for n, each in enumerate(ports)]
        for engine, replica in zip(started, replicas, strict=True):
            engine.wait(partial(answers, f"{replica.url}/health"), _ENGINE_WITHIN_S)
        yield Stage(tuple(replicas), lmcache_url, redis_port, tuple(lines))


@contextlib.contextmanager
def _remote_store(folder: Path, lines: list[str]) -> Iterator[tuple[int, int]]:
    """Redis, and the gateway's listener in front of it: both ports."""
    with contextlib.ExitStack() as stack:
        redis_port, store_port, idle_port = free_ports(3)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvgate-bench-")))
        started = _start(stack, folder, lines, redis(find("redis-server", "redis-server"), redis_port))
        started.wait(lambda: _listens(redis_port), _STORE_WITHIN_S)
        sections: dict[str, Any] = {"kv_store": {"port": store_port, "servers": [f"127.0.0.1:{redis_port}"]}}
        sections |= {
            "providers": [{"name": "idle", "type": "mock", "base_url": f"http://127.0.0.1:{idle_port}"}],
            "models": [{"name": "idle", "deployments": [{"provider": "idle"}]}],
        }
        stack.enter_context(gateway(sections, scratch / "gateway", envoy_threads=1))
        lines.append(f"kvgate run  # kv_store: {sections['kv_store']}")
        yield redis_port, store_port


@dataclass(frozen=True, slots=True)
class _Started:
    process: subprocess.Popen[bytes]
    log: Path
    name: str

    def wait(self, ready: Callable[[], bool], within_s: float) -> None:
        try:
            until_ready(self.process, self.log, ready, self.name, within_s)
        except BenchFailed as error:
            raise BenchFailed(f"{error}\nall of it: {self.log}") from None


def _start(stack: contextlib.ExitStack, folder: Path, lines: list[str], command: Command) -> _Started:
    log = folder / f"{command.name}.log"
    lines.append(command.line())
    return _Started(stack.enter_context(running(command.argv, log, dict(command.env))), log, command.name)


def _until_reset(replica: Replica) -> None:
    """Blocks may still be on their way to LMCache: until they are there, they cannot be forgotten."""
    give_up_s = time.monotonic() + _RESET_WITHIN_S
    while not json.loads(_fetch(f"{replica.url}/reset_prefix_cache", b"")).get("success", True):
        if time.monotonic() > give_up_s:
            raise BenchFailed(f"{replica.name} does not forget its prefixes")
        time.sleep(0.2)


def _fetch(url: str, data: bytes | None = None) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as response:
        return str(response.read().decode())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _redis(port: int, command: str) -> str:
    """The reply to an inline command, at most 64 kB of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(65536).decode()

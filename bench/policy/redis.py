"""A redis-server, and what it counts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from bench.common.ports import free_ports
from bench.common.processes import find, running, until_ready

SETTINGS = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Counts:
    """What clients sent.

    Args:
        reads: times that the server read from a client: round trips, as it sees them.
        scripts: EVALSHA commands.
    """

    reads: int
    scripts: int

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.reads - other.reads, self.scripts - other.scripts)


class Meter:
    """Reads the server's own counters over a connection that is not counted."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url)
        self._read()
        first, second = self._read(), self._read()
        self._own_reads = second.reads - first.reads
        self._taken = 0

    def read(self) -> Counts:
        """Since the server started."""
        counts = self._read()
        self._taken += 1
        return Counts(counts.reads - self._own_reads * self._taken, counts.scripts)

    def _read(self) -> Counts:
        reads = int(self._redis.info("stats")["total_reads_processed"])
        scripts = self._redis.info("commandstats").get("cmdstat_evalsha", {})
        return Counts(reads, int(scripts.get("calls", 0)))


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Starts one that keeps nothing on disk; gives its URL; stopped at the end.

    Raises:
        BenchFailed: it is not installed, or does not start.
    """
    folder.mkdir()
    (port,) = free_ports(1)
    argv = [find("redis-server", "redis-server"), "--port", str(port), "--dir", str(folder), *SETTINGS]
    log = folder / "redis.log"
    with running(argv, log) as process:
        until_ready(process, log, lambda: _listens(port), "redis-server")
        yield f"redis://127.0.0.1:{port}/0"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"
    return False

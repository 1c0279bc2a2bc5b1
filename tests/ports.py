"""Ports for servers that are told where to listen. They lie below those that the kernel gives to outgoing connections,
and each test worker has its own range, so nobody takes one between the choice and its use."""

from __future__ import annotations

import os
import random
import socket

_FIRST, _WORKERS, _EACH = 10_000, 10, 2_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_next = random.randrange(_EACH)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this process has not given out lately."""
    global _next
    for _ in range(_EACH):
        port = _FIRST + _worker * _EACH + _next
        _next = (_next + 1) % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def free_ports(count: int) -> list[int]:
    """So many, all different."""
    return [free_port() for _ in range(count)]

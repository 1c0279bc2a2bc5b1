"""Tells when a file has changed: by SIGHUP at once, by looking at it every second otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path


class FileWatch:
    """Watches one file.

    It looks at the file's identity, size and times rather than asking the kernel for events: that also sees the
    renamed symbolic links through which Kubernetes updates a mounted ConfigMap, and needs no library.
    """

    def __init__(self, path: Path, *, interval_s: float = 1.0) -> None:
        self._path = path
        self._interval_s = interval_s
        self._asked = asyncio.Event()
        self._seen = self._look()

    def ask(self) -> None:
        """Report a change even if there is none; the SIGHUP handler."""
        self._asked.set()

    async def changes(self) -> AsyncIterator[None]:
        """Yields once for each change."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), self._interval_s)
                self._asked.clear()
                self._seen = self._look()
                yield
                continue
            except asyncio.TimeoutError:
                pass
            now = self._look()
            if now is not None and now != self._seen:
                self._seen = now
                yield

    def _look(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None  # being replaced; the next look will find it
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

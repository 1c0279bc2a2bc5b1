"""Lines on their way to a file or to standard output. Whoever writes one never waits for the disk."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from pathlib import Path

log = logging.getLogger(__name__)

_STDOUT = 1
_AT_ONCE = 1 << 20


class Lines:
    """Takes lines in, and has a thread of its own write them out.

    What the target cannot take in time waits in memory, up to a bound; beyond that, lines are dropped and counted.
    A file that was renamed or removed is opened anew at its path, at the next flush or when `reopen` says so.

    Args:
        path: of a file that is appended to and created if need be; None is standard output.
        most_bytes: that may wait.
        every_s: how often they are written.

    Attributes:
        written, dropped: lines, so far.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path | None, *, most_bytes: int = 8 << 20, every_s: float = 0.1) -> None:
        self.written = self.dropped = 0
        self._path = path
        self._most_bytes = most_bytes
        self._every_s = every_s
        self._waiting: deque[bytes] = deque()
        self._in_bytes = self._out_bytes = 0  # each is changed by one thread alone
        self._reopen = self._stopping = False
        self._wake = threading.Event()
        self._fd = self._open()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Takes a line, with its line end, unless too many wait already."""
        waiting_bytes = self._in_bytes - self._out_bytes
        if waiting_bytes > self._most_bytes:
            self.dropped += 1
            return
        self._in_bytes += len(line)
        self._waiting.append(line)
        if waiting_bytes > self._most_bytes // 4 and not self._wake.is_set():
            self._wake.set()

    def reopen(self) -> None:
        """Opens the file anew, by its path: it has been rotated."""
        self._reopen = True
        self._wake.set()

    def close(self, within_s: float = 2.0) -> None:
        """Writes what waits, unless that takes longer."""
        self._stopping = True
        self._wake.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            if self._rotated():
                fd = self._open()
                os.close(self._fd)
                self._fd = fd
            while self._waiting:
                self._write_some()
        except OSError as error:
            if not self._failing:
                log.error("the request log cannot be written: %s", error)
            self._failing = True
        else:
            self._failing = False

    def _write_some(self) -> None:
        lines: list[bytes] = []
        size = 0
        while self._waiting and size < _AT_ONCE:
            lines.append(self._waiting.popleft())
            size += len(lines[-1])
        rest = memoryview(b"".join(lines))
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self.dropped += len(lines)
            raise
        finally:
            self._out_bytes += size
        self.written += len(lines)

    def _rotated(self) -> bool:
        if self._path is None:
            return False
        asked, self._reopen = self._reopen, False
        if asked:
            return True
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def _open(self) -> int:
        if self._path is None:
            return _STDOUT
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

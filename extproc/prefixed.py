"""What a program prints, passed on line by line with its name in front."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 1 << 16


class Prefixed:
    """A pipe for a program to print into; whoever holds its other end may outlive the program.

    Not one of asyncio's own: a process whose pipe is open in a grandchild would not count as ended there.

    Args:
        write: takes whole lines; default: standard error.
    """

    def __init__(self, name: str, write: Callable[[bytes], object] | None = None) -> None:
        self._prefix = f"{name} | ".encode()
        self._write = write or _to_stderr
        self._line = b""
        self._read, self.given_end = os.pipe()
        os.set_blocking(self._read, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._take)

    def close_given_end(self) -> None:
        """To be called once the program has its own copy; ours would keep the pipe open for ever."""
        os.close(self.given_end)

    def _take(self) -> None:
        try:
            chunk = os.read(self._read, _CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, self._line = (self._line + chunk).split(b"\n")
        if self._line and (not chunk or len(self._line) > _LINE_BYTES):
            lines.append(self._line)
            self._line = b""
        self._write(b"".join(self._prefix + line + b"\n" for line in lines))
        if not chunk:
            self._loop.remove_reader(self._read)
            os.close(self._read)


def _to_stderr(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()

"""A server that a test starts, kills and starts again: in a process group of its own, with its output kept."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from typing_extensions import Self

VENV = Path(__file__).parents[2] / ".venv-engine"
_READY_WITHIN_S = 280.0
_STOP_WITHIN_S = 20.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Process:
    """A program of `.venv-engine`. It has no event loop of its own, so that fixtures of any scope can share it.

    Args:
        name: what a report calls its output.
        argv: the command; its first word is a program of `.venv-engine`.
        ready_url: answers 200 once it serves.
    """

    running: ClassVar[list[Process]] = []
    """All that a failed test may want to show."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], ready_url: str) -> None:
        self.name = name
        self.started_after_s = 0.0
        self._argv = [str(VENV / "bin" / argv[0]), *argv[1:]]
        self._env = {**os.environ, **env}
        self._ready_url = ready_url
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix=f"kvgate-{name}-")
        self._log = Path(self._folder.name) / "log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._folder.cleanup()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the first process; its children are in the process group of that number."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has printed, in all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Starts it, on the same ports each time; returns when it serves.

        Raises:
            RuntimeError: it ended, or did not serve in time; with the end of what it printed.
        """
        begin_s = time.monotonic()
        self._spawn()
        Process.running.append(self)
        try:
            await self._until_ready(begin_s + _READY_WITHIN_S)
        except BaseException:
            self.kill()
            raise
        self.started_after_s = time.monotonic() - begin_s

    async def stop(self) -> None:
        """Asks it to end, and ends what is left of its group."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _STOP_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """Ends it at once, and its children: `kill -9` of the whole group. Does nothing to one that is down."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        Process.running.remove(self)

    def pause(self) -> None:
        """Stops the whole group where it is, with its connections open."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Kills it, if it still runs, and starts it."""
        self.kill()
        await self.start()

    def _spawn(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        if not Path(self._argv[0]).exists():
            raise RuntimeError(f"there is no {self._argv[0]}: `make test-engine` installs it")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=VENV.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def _until_ready(self, give_up_s: float) -> None:
        while not await asyncio.to_thread(self._answers):
            if not self.is_running or time.monotonic() > give_up_s:
                why = "does not serve" if self.is_running else "ended"
                raise RuntimeError(f"{self.name} {why}:\n{self.log[-6000:]}")
            await asyncio.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return fetch(self._ready_url) is not None
        return False


def fetch(url: str, data: bytes | None = None) -> str:
    """A page, or with JSON as data what a POST answers.

    Raises:
        OSError: no answer, or one that is an error.
    """
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


def _die_with_parent() -> None:
    """Runs in the child before exec: should the tests be killed outright, it gets SIGTERM."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

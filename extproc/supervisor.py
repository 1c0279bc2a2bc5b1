"""`kvgate run`: Envoy, the processor and the simulated replicas as child processes, kept alive and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from extproc.prefixed import Prefixed

log = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.1
_MAX_BACKOFF_S = 5.0
_STEADY_S = 10.0
"""A child that lived this long starts its back-off anew."""
_KILL_AFTER_S = 10.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LISTENER_DRAIN_S = 10
"""How long connections live on when a listener changes under them, such as that of the KV store when it grows."""


@dataclass(frozen=True, slots=True)
class Program:
    """Something to keep running.

    Args:
        name: what the log calls it.
        stop_within_s: how long it may take to stop before it is killed.
        environment: variables beside our own.
        prefixed: whether what it prints is shown with its name in front of each line; else it is shown as it is.
    """

    name: str
    argv: tuple[str, ...]
    stop_within_s: float = _KILL_AFTER_S
    environment: tuple[tuple[str, str], ...] = ()
    prefixed: bool = False


class Child:
    """One program, started again with back-off whenever it dies.

    Args:
        before_stop: awaited before the child is told to stop; a chance to let it finish its work.
    """

    def __init__(self, program: Program, *, before_stop: Callable[[], Awaitable[None]] | None = None) -> None:
        self.program = program
        self.restarts = 0
        self._before_stop = before_stop
        self._process: asyncio.subprocess.Process | None = None
        self._task = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        """Of the running process; None between two lives."""
        return self._process.pid if self._process is not None else None

    async def stop(self) -> None:
        """Ends the child: SIGTERM, and SIGKILL if it takes too long."""
        if self._before_stop is not None and self._process is not None:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await self._before_stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_within_s)
        except asyncio.TimeoutError:
            log.warning("%s did not stop within %.0f s; killed", self.program.name, self.program.stop_within_s)
            process.kill()
            await process.wait()
        _end_descendants(process.pid)

    async def _keep(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            started_s = time.monotonic()
            how = await self._live()
            lived_s = time.monotonic() - started_s
            backoff_s = _FIRST_BACKOFF_S if lived_s > _STEADY_S else min(backoff_s * 2, _MAX_BACKOFF_S)
            self.restarts += 1
            log.warning("%s %s after %.1f s; restart in %.1f s", self.program.name, how, lived_s, backoff_s)
            await asyncio.sleep(backoff_s)

    async def _live(self) -> str:
        """One life of the program, and how it ended."""
        output = Prefixed(self.program.name) if self.program.prefixed else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.given_end if output else None,
                stderr=output.given_end if output else None,
                env={**os.environ, **dict(self.program.environment)},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        finally:
            if output is not None:
                output.close_given_end()
        pid = self._process.pid
        status = await self._process.wait()
        self._process = None
        _end_descendants(pid)
        return _how(status)


class Supervisor:
    """Children by name, in the order in which they are started; they are stopped in the opposite order."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}

    def add(self, program: Program, *, before_stop: Callable[[], Awaitable[None]] | None = None) -> None:
        """Starts a program."""
        self.children[program.name] = Child(program, before_stop=before_stop)

    async def replace(self, wanted: Mapping[str, Program], *, among: str) -> None:
        """Starts and stops children so that those whose names begin with `among` are the wanted ones."""
        for name in [name for name in self.children if name.startswith(among)]:
            if self.children[name].program != wanted.get(name):
                await self.children.pop(name).stop()
        for name, program in wanted.items():
            if name not in self.children:
                self.add(program)

    async def stop(self) -> None:
        """Ends all children, the last one started first."""
        for child in reversed(list(self.children.values())):
            await child.stop()
        self.children.clear()


def python_program(name: str, module: str, *arguments: str, stop_within_s: float = _KILL_AFTER_S) -> Program:
    """A program that is part of this package: `python -m module` under the running interpreter."""
    return Program(name, (sys.executable, "-m", module, *arguments), stop_within_s)


def envoy_program(binary: Path, config: Path, *, concurrency: int | None, log_level: str) -> Program:
    """Envoy, without the shared memory of hot restart, so that several run side by side on one machine."""
    argv = [str(binary), "-c", str(config), "--log-level", log_level, "--disable-hot-restart"]
    argv += ["--drain-time-s", str(_LISTENER_DRAIN_S)]
    argv += ["--component-log-level", "misc:error"]  # a page of warnings that sse_to_metadata is young
    if concurrency is not None:
        argv += ["--concurrency", str(concurrency)]
    return Program("envoy", tuple(argv))


def _end_descendants(pid: int) -> None:
    """Ends what a program that is gone left behind in its session: an engine's workers hold its ports and memory."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _how(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def _die_with_parent() -> None:
    """Runs in the child before exec: should the supervisor be killed outright, the child gets SIGTERM."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

"""The programs of the configuration: started in the order of `after`, kept running, stopped in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import os
import shutil
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence

from extproc.config import programs as configured
from extproc.config.programs import levels
from extproc.supervisor import Child, Program

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.2
_ANSWER_WITHIN_S = 2.0


class ProgramMissing(RuntimeError):
    """The command of a program is not on this machine."""


class Programs:
    """Those that run, or wait for others to be ready."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self._wanted: tuple[configured.Program, ...] = ()
        self._ready: dict[str, asyncio.Event] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}

    async def replace(self, wanted: Sequence[configured.Program]) -> None:
        """Starts what is new and stops what is gone; what has changed is stopped and started. Returns before they are
        ready."""
        stay = [program for program in self._wanted if program in wanted]
        await self._stop([program for program in self._wanted if program not in stay])
        self._wanted = tuple(wanted)
        starting = [program for program in wanted if program not in stay]
        for program in starting:
            self._ready[program.name] = asyncio.Event()
        for program in starting:
            self._starting[program.name] = asyncio.create_task(self._start(program))

    async def until_ready(self) -> None:
        """Returns when every program has once been ready."""
        for program in self._wanted:
            await self._ready[program.name].wait()

    async def stop(self) -> None:
        """Ends all, those first that others do not need."""
        await self._stop(self._wanted)
        self._wanted = ()

    async def _start(self, program: configured.Program) -> None:
        waits_for = [name for name in program.after if not self._ready[name].is_set()]
        if waits_for:
            log.info("%s waits for %s", program.name, ", ".join(waits_for))
        for name in program.after:
            await self._ready[name].wait()
        started_s = time.monotonic()
        self.children[program.name] = Child(_supervised(program))
        if program.ready_url is not None:
            await _until_answered(program.ready_url)
        self._ready[program.name].set()
        log.info("%s is ready after %.1f s", program.name, time.monotonic() - started_s)

    async def _stop(self, programs: Sequence[configured.Program]) -> None:
        for program in programs:
            self._starting[program.name].cancel()
        await asyncio.gather(*(self._starting.pop(each.name) for each in programs), return_exceptions=True)
        for level in reversed(levels(self._wanted)):
            ending = [each.name for each in level if each in programs and each.name in self.children]
            await asyncio.gather(*(self.children.pop(name).stop() for name in ending))


def check_commands(programs: Sequence[configured.Program]) -> None:
    """Finds out before anything starts whether the commands are there.

    Raises:
        ProgramMissing: names the first one that is not.
    """
    for program in programs:
        command = program.command[0]
        if shutil.which(command, path=program.env.get("PATH", os.environ.get("PATH"))) is None:
            raise ProgramMissing(f"programs: {program.name!r} cannot be started: there is no command {command!r}")


def _supervised(program: configured.Program) -> Program:
    return Program(program.name, program.command, program.stop_within_s, tuple(program.env.items()), prefixed=True)


async def _until_answered(url: str) -> None:
    while not await asyncio.to_thread(_answers, url):
        await asyncio.sleep(_ASK_AGAIN_S)


def _answers(url: str) -> bool:
    """Whether the page is there, or for `tcp://host:port` whether somebody listens."""
    address = urllib.parse.urlsplit(url)
    with contextlib.suppress(OSError, http.client.HTTPException):
        if address.scheme == "tcp":
            socket.create_connection((address.hostname or "", address.port or 0), _ANSWER_WITHIN_S).close()
            return True
        with urllib.request.urlopen(url, timeout=_ANSWER_WITHIN_S) as page:
            return bool(page.status == 200)
    return False

"""Child processes that end with the benchmark, whatever ends it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from bench.common.errors import BenchFailed

_READY_WITHIN_S = 30.0
_STOP_WITHIN_S = 20.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


def find(program: str, package: str) -> str:
    """The path of an installed program.

    Raises:
        BenchFailed: it is missing; the text says how to install it.
    """
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchFailed(f"{program} is not installed. On Debian or Ubuntu: sudo apt-get install {package}")
    return path


def stop_on_sigterm() -> None:
    """Makes SIGTERM unwind the stack, so that what was started is stopped."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A child process; SIGTERM at the end, SIGKILL if that is not enough, and for what it started and left behind.

    What it prints goes to `log`.

    Args:
        env: further variables.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # Ctrl-C is for the benchmark, which stops its children in order
            preexec_fn=_die_with_parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until_ready(
    process: subprocess.Popen[bytes],
    log: Path,
    ready: Callable[[], bool],
    what: str,
    within_s: float = _READY_WITHIN_S,
) -> None:
    """Waits until `ready()` holds.

    Raises:
        BenchFailed: the process died or took too long; the text ends with its log.
    """
    give_up_s = time.monotonic() + within_s
    while not ready():
        if process.poll() is not None:
            raise BenchFailed(f"{what} exited with status {process.returncode}:\n{tail(log)}")
        if time.monotonic() > give_up_s:
            raise BenchFailed(f"{what} was not ready within {within_s:.0f} s:\n{tail(log)}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a GET is answered with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.URLError):
        return False


def tail(log: Path, characters: int = 4000) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-characters:]


def _die_with_parent() -> None:
    """Runs in the child before exec: should the benchmark be killed outright, the child gets SIGTERM."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

"""The process itself, under the names that Prometheus' client libraries use, and which build it is."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from extproc import __version__
from extproc.telemetry.instruments import Family, Reading, gauge


class ProcessPage:
    """Reads /proc, where there is one."""

    title = "Process"

    def __init__(self) -> None:
        self._started_s = time.time()

    def families(self) -> Iterator[Family]:
        yield Reading(
            "kvgate_build_info",
            "gauge",
            "Always 1; which version runs, on which Python.",
            ("version", "python"),
            [((__version__, platform.python_version()), 1)],
        )
        yield gauge("process_start_time_seconds", "When the processor was started, Unix time.", self._started_s)
        cpu = os.times()
        yield Reading(
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time of the processor.",
            (),
            [((), cpu.user + cpu.system)],
        )
        yield gauge("process_resident_memory_bytes", "Memory of the processor that is in RAM.", _resident_bytes())
        yield gauge("process_open_fds", "Open file descriptors of the processor.", _open_files())


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0

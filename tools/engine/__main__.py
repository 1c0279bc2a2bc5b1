"""`python -m tools.engine`: sets up `.venv-engine`. An interrupted run goes on where it stopped.

It needs nothing but Python, so that it can run before anything is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.engine.steps import Step, StepFailed, check_python, steps

_VENV = Path(__file__).parents[2] / ".venv-engine"
_SHOWN_LINES = 25
_TICK_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.engine", description=__doc__)
    parser.add_argument("--venv", type=Path, default=_VENV, help="where to; default: .venv-engine")
    venv = parser.parse_args().venv.absolute()
    try:
        check_python()
        todo = steps(venv)
        changed = False
        for number, step in enumerate(todo, start=1):
            title = f"[{number}/{len(todo)}] {step.name}"
            stamp = venv / ".done" / step.name.replace(" ", "-").replace(":", "")
            if not changed and stamp.exists() and stamp.read_text() == step.made_of:
                print(f"{title}: done before")
                continue
            changed = True  # what comes after it builds on it
            _take(step, title, venv)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(step.made_of)
    except StepFailed as error:
        print(f"make engine: {error}", file=sys.stderr)
        return 1
    return 0


def _take(step: Step, title: str, venv: Path) -> None:
    log = venv / "setup.log"
    venv.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w") as printed, _clock(title):
            step.do(printed)
    except (OSError, subprocess.CalledProcessError) as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])
        raise StepFailed(
            f"{step.name} failed: {error}\n{tail}\n(all of it: {log}; run it again to go on here)"
        ) from None


@contextmanager
def _clock(title: str) -> Iterator[None]:
    """Says now and then that it still goes on, and at the end how long it took."""
    started_s = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(_TICK_S):
            print(f"{title} ... {time.monotonic() - started_s:.0f} s", flush=True)

    print(title, flush=True)
    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        done.set()
        ticking.join()
    print(f"{title}: {time.monotonic() - started_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())

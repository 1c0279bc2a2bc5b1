"""Setting up real engines: what is fixed after pip, and going on after an interruption."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest

from tools.engine import __main__ as setup
from tools.engine import fixes
from tools.engine.steps import Step, StepFailed, check_python


def test_torchvision_is_fixed_once(tmp_path: Path) -> None:
    module = tmp_path / "torchvision" / "extension.py"
    module.parent.mkdir()
    module.write_text("import torch\n")
    fixes.declare_torchvision_operators(tmp_path)
    fixed = module.read_text()
    fixes.declare_torchvision_operators(tmp_path)
    assert module.read_text() == fixed
    assert fixed.count("torchvision::nms") == 1
    compile(fixed, "extension.py", "exec")


def test_vllm_finds_itself_under_its_name_and_as_the_cpu_build(tmp_path: Path) -> None:
    for _ in range(2):
        fixes.name_the_distribution_vllm(tmp_path, "0.32.0")
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    assert (found.name, found.version) == ("vllm", "0.32.0+cpu")


def test_a_python_without_wheels_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(StepFailed, match=r"need Python 3\.11 to 3\.13, and this is 3\.10; try make ENGINE_PYTHON"):
        check_python()


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Sequence[Step]], int]:
    def run(steps: Sequence[Step]) -> int:
        monkeypatch.setattr(setup, "check_python", lambda: None)
        monkeypatch.setattr(setup, "steps", lambda venv: steps)
        monkeypatch.setattr(sys, "argv", ["tools.engine", "--venv", str(tmp_path)])
        return setup.main()

    return run


def test_it_goes_on_where_it_failed(take: Callable[[Sequence[Step]], int], capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    broken = True

    def second(log: IO[str]) -> None:
        log.write("pip says why\n")
        if broken:
            raise OSError("no room")
        done.append("second")

    steps = [Step("one", "1", lambda log: done.append("first")), Step("two", "1", second)]
    assert take(steps) == 1
    printed = capsys.readouterr()
    assert "two failed: no room\npip says why" in printed.err
    broken = False
    assert take(steps) == 0
    assert take(steps) == 0
    assert done == ["first", "second"]


def test_what_comes_after_a_changed_step_is_done_again(take: Callable[[Sequence[Step]], int]) -> None:
    done: list[str] = []

    def steps(packages: str) -> list[Step]:
        return [
            Step(name, made_of, lambda log, name=name: done.append(name))  # type: ignore[misc]
            for name, made_of in (("python", ""), ("packages", packages), ("fixes", ""))
        ]

    assert take(steps("1")) == 0
    assert take(steps("2")) == 0
    assert done == ["python", "packages", "fixes", "packages", "fixes"]

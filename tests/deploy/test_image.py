"""The image: linted by hadolint. It was not built here, where there is no Docker engine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from .programs import DEPLOY, ROOT, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say() -> None:
    result = run("hadolint", "deploy/Dockerfile")
    assert result.returncode == 0, result.stdout


def test_the_base_is_pinned_by_a_full_version() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2


def test_the_finished_image_runs_as_a_numbered_user() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert user != "0"
    assert "HEALTHCHECK" in last


def test_everything_that_is_copied_exists_and_is_let_through() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    sources = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)


def test_everything_that_goes_into_the_wheel_is_copied() -> None:
    wheel = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.partition("FROM ${PYTHON_IMAGE}\n")[0], re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    needed = {*wheel["packages"], *(path.split("/")[0] for path in wheel["force-include"])}
    assert needed <= sources


def test_every_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    pinned = dict(line.split("==") for line in (DEPLOY / "constraints.txt").read_text().splitlines() if "==" in line)
    project = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["otel"]]:
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pinned, f"{name}: run `make constraints`"
        assert requirement.specifier.contains(Version(pinned[name])), name

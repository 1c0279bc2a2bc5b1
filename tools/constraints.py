"""deploy/constraints.txt: the versions that this environment has of all that the gateway needs. `make constraints`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import tomllib  # Python 3.11
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
_HEADER = "# Versions that the tests ran with; written by `make constraints`.\n"


def add(requirements: Iterable[str], found: dict[str, str], extras: frozenset[str] = frozenset({""})) -> None:
    """Adds normal name -> version of what meets the requirements here, and of all that it needs in turn."""
    for requirement in map(Requirement, requirements):
        marker, key = requirement.marker, re.sub(r"[-_.]+", "-", requirement.name).lower()
        if key in found or (marker and not any(marker.evaluate({"extra": extra}) for extra in extras)):
            continue
        distribution = metadata.distribution(requirement.name)
        found[key] = distribution.version
        add(distribution.requires or [], found, frozenset({"", *requirement.extras}))


def main() -> int:
    """Writes the file."""
    versions: dict[str, str] = {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    add([*project["dependencies"], *project["optional-dependencies"]["otel"]], versions)
    CONSTRAINTS.write_text(_HEADER + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

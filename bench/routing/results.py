"""The result of one policy on one configuration, and a folder that remembers results for as long as they hold.

A result is filed under everything it depends on: the configuration, the seed, and the sources behind the policy. Those
are `bench/routing` and `extproc/sim` for a baseline and all of `extproc` for the gateway's own, so an edit to the
router runs the router again, and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from xxhash import xxh3_128

from bench.routing.grid import Configuration
from bench.routing.measure import Outcome
from bench.routing.policies import is_ours

_ROOT = Path(__file__).resolve().parents[2]
_PRESENTATION = {"__main__.py", "arguments.py", "gridrun.py", "plots.py", "report.py", "summary.py"}


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one configuration.

    Args:
        cpu_s: what the simulation itself took.
    """

    workload: str
    cache: str
    load: float
    policy: str
    outcome: Outcome
    cpu_s: float

    @property
    def configuration(self) -> str:
        return f"{self.workload}/{self.cache}/{self.load:g}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Result:
        return cls(**{**document, "outcome": Outcome.from_json(document["outcome"])})


class Shelf:
    """Results on disk.

    Args:
        inputs: what else results depend on; the digest of a trace file, say.
    """

    def __init__(self, folder: Path, inputs: str = "") -> None:
        self._folder = folder
        self._inputs = inputs

    def get(self, configuration: Configuration, policy: str, seed: int) -> Result | None:
        """A result that still holds."""
        path = self._path(configuration, policy, seed)
        try:
            return Result.from_json(orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, configuration: Configuration, seed: int, result: Result) -> None:
        """Files a result; one that does not hold any more is replaced."""
        path = self._path(configuration, result.policy, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(orjson.dumps(result.as_json()))
        unfinished.replace(path)
        for other in path.parent.glob(f"{_file_name(result.policy)}.*.json"):
            if other != path:
                other.unlink(missing_ok=True)

    def _path(self, configuration: Configuration, policy: str, seed: int) -> Path:
        depends_on = orjson.dumps([configuration.name, asdict(configuration.plan), seed, self._inputs])
        key = xxh3_128(depends_on + sources(policy).encode()).hexdigest()[:16]
        return self._folder / configuration.name / f"{_file_name(policy)}.{key}.json"


@cache
def _digest(*folders: str, without: str = "") -> str:
    digest = xxh3_128()
    for folder in folders:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            if path.parent == _ROOT / "bench" / "routing" and path.name in _PRESENTATION | {without}:
                continue
            digest.update(str(path.relative_to(_ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def sources(policy: str) -> str:
    """A digest of the code that a result of this policy comes from, as it was when first asked for."""
    if is_ours(policy):
        return _digest("bench/routing", "extproc")
    return _digest("bench/routing", "extproc/sim", without="ours.py")


def file_digest(path: Path) -> str:
    """Of a file's content; empty if it cannot be read."""
    try:
        return xxh3_128(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _file_name(policy: str) -> str:
    return policy.replace(":", "-")

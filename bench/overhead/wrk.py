"""One run of wrk, as numbers.

wrk reports what it measured through the `done` hook of its Lua script. Its percentiles are corrected for coordinated
omission by wrk itself.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.common.errors import BenchFailed
from bench.common.processes import find
from bench.overhead.cases import PATH, Case

_MARK = "RESULT "
_GRACE_S = 30
_SCRIPT = """\
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.path = "{path}"
wrk.headers["content-type"] = "application/json"
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests": %d, "duration_us": %d, "p50_us": %.1f, "p99_us": %.1f, "not_2xx": %d, "socket": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    wrk_cpu_s: float

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s


class Wrk:
    """Runs wrk with the scripts and bodies it needs in `folder`.

    Raises:
        BenchFailed: wrk is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = find("wrk", "wrk")
        self._folder = folder

    def run(self, url: str, case: Case, seconds: float) -> Load:
        """Loads `url` with a case.

        Raises:
            BenchFailed: a response was an error, a socket failed, or nothing was answered.
        """
        argv = [self.path, "-t1", f"-c{case.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        argv += ["--latency", "-s", str(self._script(case)), url]
        before_s = _children_cpu_s()
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=False)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"wrk did not end: {' '.join(argv)}") from None
        wrk_cpu_s = _children_cpu_s() - before_s
        lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
        if done.returncode or not lines:
            raise BenchFailed(f"wrk failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
        result = json.loads(lines[0].removeprefix(_MARK))
        if result["not_2xx"] or result["socket"] or not result["requests"]:
            raise BenchFailed(f"{case.name} against {url}: not every request was answered with 200:\n{done.stdout}")
        return Load(
            requests=result["requests"],
            duration_s=result["duration_us"] / 1e6,
            p50_ms=result["p50_us"] / 1000,
            p99_ms=result["p99_us"] / 1000,
            wrk_cpu_s=wrk_cpu_s,
        )

    def _script(self, case: Case) -> Path:
        script = self._folder / f"{case.body}.lua"
        if not script.exists():
            body = self._folder / f"{case.body}.json"
            body.write_bytes(case.content)
            script.write_text(_SCRIPT.format(body=body, path=PATH, mark=_MARK))
        return script


def _children_cpu_s() -> float:
    """CPU time of children that have ended: of wrk, since nothing else is started and ended meanwhile."""
    times = os.times()
    return times.children_user + times.children_system

"""`python -m bench.policy`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.common import machine
from bench.common.errors import BenchFailed
from bench.common.processes import find, stop_on_sigterm
from bench.common.report import OUT, write_json
from bench.overhead.backend import backend
from bench.overhead.wrk import Wrk
from bench.policy.admission import measure_admission
from bench.policy.crowd import measure_flight, measure_overshoot
from bench.policy.hits import measure_hits
from bench.policy.redis import redis_server
from bench.policy.stage import Stage, sims, stage
from bench.policy.summary import Summary


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark: 0 if it could be measured, whether or not the aims were met."""
    arguments = _arguments(argv)
    stop_on_sigterm()
    try:
        _run(arguments)
    except BenchFailed as error:
        print(f"bench.policy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description="What limits and caches cost and do.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run of wrk (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of hits and crowds (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=OUT / "policy.json", metavar="OUT")
    parser.add_argument("--quick", action="store_true", help="one repeat of one second: does it work at all")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seconds, arguments.repeats = 1.0, 1
    if arguments.repeats < 1 or arguments.seconds < 1:
        parser.error("--repeats and --seconds must be at least 1")
    return arguments


def _run(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="kvgate-bench-") as name:
        folder = Path(name)
        wrk, summary = Wrk(folder), Summary()
        redis = find("redis-server", "redis-server")
        programs = {"wrk": [wrk.path, "-v"], "nginx": [find("nginx", "nginx-light"), "-v"], "redis": [redis, "-v"]}
        description = machine.describe(programs)
        print(machine.summary(description))
        with backend("nginx", folder / "instant") as behind, sims(folder / "sims") as slow:
            with stage(behind, slow, folder / "memory", None) as playing:
                _measure(playing, wrk, arguments, summary)
            with redis_server(folder / "redis-server") as url, stage(behind, slow, folder / "redis", url) as playing:
                _measure(playing, wrk, arguments, summary)
    print()
    summary.print()
    settings = {"seconds": arguments.seconds, "repeats": arguments.repeats}
    document = {"benchmark": "policy", **description, "settings": settings, "aims": summary.aims()}
    write_json(arguments.json, document | summary.as_json())


def _measure(playing: Stage, wrk: Wrk, arguments: argparse.Namespace, summary: Summary) -> None:
    summary.hits.extend(measure_hits(playing, wrk, seconds=arguments.seconds, repeats=arguments.repeats))
    print(f"  {playing.name}: hits", flush=True)
    summary.admissions.append(measure_admission(playing, wrk, seconds=arguments.seconds, batches=8 * arguments.repeats))
    print(f"  {playing.name}: admission", flush=True)
    summary.flights.append(measure_flight(playing, 2 * arguments.repeats))
    print(f"  {playing.name}: equal requests", flush=True)
    summary.overshoots.append(measure_overshoot(playing))
    print(f"  {playing.name}: budget", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.overhead`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.common import machine
from bench.common.errors import BenchFailed
from bench.common.processes import find, stop_on_sigterm
from bench.common.report import OUT, write_json
from bench.overhead.backend import backend
from bench.overhead.cases import CASES, bodies
from bench.overhead.measure import measure
from bench.overhead.summary import Summary
from bench.overhead.targets import NAMES, targets
from bench.overhead.wrk import Wrk


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark: 0 if it could be measured, whether or not the aims were met."""
    arguments = _arguments(argv)
    stop_on_sigterm()
    try:
        _run(arguments)
    except BenchFailed as error:
        print(f"bench.overhead: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    cases = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description="What KVGate adds to a request.")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of each run of wrk, whole ones (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of every case and target (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=OUT / "overhead.json", metavar="OUT")
    parser.add_argument("--backend", choices=("nginx", "sim"), default="nginx", help="what answers (default: nginx)")
    parser.add_argument(
        "--targets", nargs="+", choices=NAMES, default=list(NAMES), metavar="TARGET", help=" ".join(NAMES)
    )
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases, metavar="CASE", help=" ".join(cases))
    parser.add_argument(
        "--envoy-threads",
        type=int,
        default=max(1, (os.cpu_count() or 1) - 1),
        help="of either Envoy (default: all cores but one, as `kvgate run` has it)",
    )
    parser.add_argument("--quick", action="store_true", help="one repeat of one second: does it work at all")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seconds, arguments.repeats = 1.0, 1
    if arguments.repeats < 1 or arguments.seconds < 1:
        parser.error("--repeats and --seconds must be at least 1")
    return arguments


def _run(arguments: argparse.Namespace) -> None:
    cases = [case for case in CASES if case.name in arguments.cases]
    with tempfile.TemporaryDirectory(prefix="kvgate-bench-") as name:
        folder = Path(name)
        wrk = Wrk(folder)
        programs = {"wrk": [wrk.path, "-v"]}
        if arguments.backend == "nginx":
            programs["nginx"] = [find("nginx", "nginx-light"), "-v"]
        description = machine.describe(programs)
        print(machine.summary(description))
        with (
            backend(arguments.backend, folder / "backend") as behind,
            targets(arguments.targets, behind, folder, threads=arguments.envoy_threads) as started,
        ):
            samples = measure(started, cases, wrk, seconds=arguments.seconds, repeats=arguments.repeats)
    summary = Summary(samples)
    print()
    summary.print()
    settings = {
        "seconds": arguments.seconds,
        "repeats": arguments.repeats,
        "backend": arguments.backend,
        "envoy_threads": arguments.envoy_threads,
        "body_bytes": {name: len(body) for name, body in bodies().items()},
    }
    document = {"benchmark": "overhead", **description, "settings": settings, "aims": summary.aims()}
    document |= {"summary": summary.as_json(), "samples": [sample.as_json() for sample in samples]}
    write_json(arguments.json, document)


if __name__ == "__main__":
    sys.exit(main())

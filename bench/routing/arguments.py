"""The command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.common.report import OUT
from bench.routing.policies import GRID, known, resolve
from bench.routing.workloads import CONVERSATION_TRACE, NAMES


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, checked; exits with 2 and a sentence where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.routing",
        description="Routing policies on simulated replicas and a virtual clock.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=f"Policies: {', '.join(known())}. +P is an exact view of the caches; pooled and infinite are oracles.",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--trace", type=Path, metavar="FILE", help="a trace in the Mooncake or the segment format")
    what.add_argument("--workload", choices=NAMES, help="one of the workloads of the grid, on a fleet of your own")
    what.add_argument("--grid", action="store_true", help="all workloads, cache sizes and load levels")
    add("--policies", type=_names, default=list(GRID), metavar="A,B", help="which policies")
    add("--json", type=Path, default=OUT / "routing.json", metavar="OUT")
    add("--plots", type=Path, metavar="DIR", help="draw TTFT and hit rate, as PNG and SVG")
    add("--conversation", type=Path, default=CONVERSATION_TRACE, metavar="FILE", help="trace of that workload")

    one = parser.add_argument_group("one run")
    one.add_argument("--replicas", type=_at_least(1), default=8)
    one.add_argument("--blocks", type=_at_least(1), default=600, help="engine blocks of each replica")
    one.add_argument("--block-size", type=_at_least(1), help="tokens of an engine block (512 for Mooncake, else 16)")
    one.add_argument("--prefill-tok-s", type=_above_zero, default=7000.0, metavar="R", help="of one replica")
    one.add_argument("--decode-tok-s", type=_above_zero, default=60.0, metavar="R", help="of a lone stream")
    one.add_argument("--speeds", type=_numbers, metavar="X,Y", help="each replica's speed as a multiple of that")
    one.add_argument("--time-scale", type=_above_zero, default=1.0, help="arrival times are multiplied by it")
    one.add_argument("--limit", type=_at_least(1), help="only so many requests")
    one.add_argument(
        "--host-blocks",
        type=_at_least(0),
        default=0,
        help="blocks of a host tier behind each GPU, told to kvgate alone",
    )
    one.add_argument("--restore-tok-s", type=_above_zero, default=100_000.0, help="how fast it gives them back")
    one.add_argument(
        "--remote-blocks",
        type=_at_least(0),
        default=0,
        help="blocks of a store behind all replicas, told to kvgate alone",
    )
    one.add_argument("--remote-tok-s", type=_above_zero, default=20_000.0, help="how fast a replica gets them back")
    one.add_argument("--seed", type=int, default=20261122, help="of random policies and generated workloads")

    grid = parser.add_argument_group("the grid")
    grid.add_argument("--workloads", type=_names, default=list(NAMES), metavar="A,B")
    grid.add_argument("--jobs", type=_at_least(1), default=min(2, os.cpu_count() or 1))
    grid.add_argument("--quick", action="store_true", help="two points of each workload instead of twelve")
    grid.add_argument("--fresh", action="store_true", help="run again what is known")
    grid.add_argument("--folder", type=Path, default=OUT / "routing", help="where results of the grid are kept")
    arguments = parser.parse_args(argv)
    arguments.policies = [resolve(name) for name in arguments.policies]
    for name in arguments.policies:
        if name not in known():
            base = name.removesuffix("+P")
            if not (base.startswith("kvgate:") and base in known()):
                parser.error(f"no policy is called {name!r}; there are: {', '.join(known())}")
    for name in arguments.workloads:
        if name not in NAMES:
            parser.error(f"no workload is called {name!r}; there are: {', '.join(NAMES)}")
    if arguments.speeds and len(arguments.speeds) != arguments.replicas:
        parser.error(f"--speeds has {len(arguments.speeds)} numbers for {arguments.replicas} replicas")
    return arguments


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError("names none")
    return names


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_above_zero(number) for number in text.split(","))


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and finite")
    return value


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return read

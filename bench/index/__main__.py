"""`python -m bench.index`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import machine
from bench.common.report import OUT, print_aim, print_table, write_json
from bench.index.measure import Timing, bytes_per_block, insertions, lookups
from bench.index.states import REPLICAS
from extproc.fleet.index import CacheIndex

LOOKUP_US = 300.0
INSERTED_PER_S = 200_000.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark: 0 whether or not the aims were met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.index",
        description=f"Look-up, insertion and memory of the cache index, with {len(REPLICAS)} replicas.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--json", type=Path, default=OUT / "index.json", metavar="OUT")
    parser.add_argument("--calls", type=int, default=5000, help="of each kind")
    arguments = parser.parse_args(argv)
    if arguments.calls < 100:
        parser.error("--calls must be at least 100: p99 is told")

    description = machine.describe()
    print(machine.summary(description) + "\n")
    found = list(lookups(CacheIndex, arguments.calls))
    print_table(("look-up", "blocks", "median us", "p99 us"), [_row(each)[:4] for each in found])
    stored = list(insertions(CacheIndex, arguments.calls))
    print()
    print_table(("insertion", "blocks", "median us", "p99 us", "blocks/s"), [_row(each) for each in stored])
    memory = bytes_per_block(CacheIndex)
    print()
    print_table(("memory", "bytes per held block"), [(name, f"{size:,.1f}") for name, size in memory.items()])
    aims = [*map(_lookup_aim, found[::2]), *map(_insertion_aim, stored)]
    print("\nAims:")
    for aim in aims:
        print_aim(aim["what"], aim["measured"], aim["aim"], aim["met"])
    document = {"benchmark": "index", **description, "settings": {"calls": arguments.calls}, "aims": aims}
    timings = {"lookups": [each.as_json() for each in found], "insertions": [each.as_json() for each in stored]}
    write_json(arguments.json, document | timings | {"bytes_per_held_block": memory})
    return 0


def _row(timing: Timing) -> tuple[str, ...]:
    what = f"{timing.case}: {timing.what}"
    return what, f"{timing.blocks:,}", f"{timing.median_us:,.1f}", f"{timing.p99_us:,.1f}", f"{timing.per_s:,.0f}"


def _lookup_aim(timing: Timing) -> dict[str, Any]:
    met = timing.median_us < LOOKUP_US
    return _aim(f"median look-up, {timing.case}", f"{timing.median_us:,.0f} us", f"< {LOOKUP_US:,.0f} us", met)


def _insertion_aim(timing: Timing) -> dict[str, Any]:
    met = timing.per_s >= INSERTED_PER_S
    return _aim(f"blocks/s, {timing.case}", f"{timing.per_s:,.0f}", f">= {INSERTED_PER_S:,.0f}", met)


def _aim(what: str, measured: str, aim: str, met: bool) -> dict[str, Any]:
    return {"what": what, "measured": measured, "aim": aim, "met": met}


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.affinity`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from bench.affinity.outcome import Outcome, Summary
from bench.affinity.talk import Turn, hold
from bench.affinity.workload import MODEL, Variant, conversations, variants
from bench.common import machine
from bench.common.errors import BenchFailed
from bench.common.gateway import gateway
from bench.common.ports import free_ports
from bench.common.processes import stop_on_sigterm
from bench.common.report import OUT, write_json
from extproc.config.settings import Strategy

_SEED = 20261122


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark: 0 if it could be measured, whether or not the aims were met."""
    arguments = _arguments(argv)
    stop_on_sigterm()
    try:
        _run(arguments)
    except BenchFailed as error:
        print(f"bench.affinity: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    known = get_args(Strategy)
    parser = argparse.ArgumentParser(
        prog="python -m bench.affinity",
        description="Images x turns through the whole gateway and simulated replicas.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--json", type=Path, default=OUT / "affinity.json", metavar="OUT")
    add("--replicas", type=int, default=3)
    add("--concurrency", type=int, default=8, help="conversations at a time")
    add("--images", type=int, default=12, help="conversations in all")
    add("--turns", type=int, default=4, help="of each conversation")
    add("--repeats", type=int, default=3, help="of every variant, each on a fresh gateway")
    add("--words", type=int, default=40, help="of a question")
    add("--max-tokens", type=int, default=64, help="of an answer")
    add("--think-ms", type=float, default=300.0, help="longest pause of a user between two turns")
    add("--prefill", type=float, default=8000.0, help="tokens/s of a replica")
    add("--decode", type=float, default=200.0, help="tokens/s of a lone stream")
    add("--seed", type=int, default=_SEED, help="of images and texts; each repeat has its own, counted up from here")
    help_text = "all three shapes with these (default: prefix_kv_aware, and round_robin as the baseline)"
    add("--strategy", nargs="+", choices=known, default=argparse.SUPPRESS, metavar="NAME", help=help_text)
    arguments = parser.parse_args(argv)
    for name in ("replicas", "concurrency", "images", "turns", "repeats", "words", "max_tokens"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return arguments


def _run(arguments: argparse.Namespace) -> None:
    description = machine.describe()
    print(machine.summary(description))
    summary = Summary()
    raw: list[dict[str, Any]] = []
    for repeat in range(arguments.repeats):
        for variant in variants(getattr(arguments, "strategy", None)):
            turns = _once(variant, arguments, arguments.seed + repeat)
            outcome = Outcome.of(turns, _replicas(arguments.replicas))
            summary.add(variant, outcome)
            raw.append({"repeat": repeat, **asdict(variant), "turns": [asdict(turn) for turn in turns]})
            kept, count = outcome.repeats_on_first, "/".join(str(each) for each in outcome.requests.values())
            line = (
                f"  {repeat + 1}/{arguments.repeats} {variant.name} ({variant.strategy}): {kept:.2f} on first, {count}"
            )
            print(line, flush=True)
            for failure in {turn.failure for turn in turns if turn.failure}:
                print(f"    failed: {failure}")
    print()
    summary.print()
    settings = {name: value for name, value in vars(arguments).items() if name != "json"}
    document = {"benchmark": "affinity", **description, "settings": settings, "aims": summary.aims()}
    write_json(arguments.json, document | {"summary": summary.as_json(), "raw": raw})


def _once(variant: Variant, arguments: argparse.Namespace, seed: int) -> list[Turn]:
    talks = conversations(variant, images=arguments.images, turns=arguments.turns, words=arguments.words, seed=seed)
    names = _replicas(arguments.replicas)
    ports = free_ports(arguments.replicas)
    sections = {
        "providers": [
            {
                "name": "sims",
                "type": "mock",
                "tokens_per_second": arguments.decode,
                "prefill_tokens_per_second": arguments.prefill,
                "replicas": [
                    {"name": name, "url": f"http://127.0.0.1:{port}"} for name, port in zip(names, ports, strict=True)
                ],
            }
        ],
        "models": [{"name": MODEL, "deployments": [{"provider": "sims"}]}],
        "routing": {"strategy": variant.strategy},
    }
    with (
        tempfile.TemporaryDirectory(prefix="kvgate-bench-") as folder,
        gateway(sections, Path(folder), ready_urls=[f"http://127.0.0.1:{port}/health" for port in ports]) as ours,
    ):
        return asyncio.run(
            hold(
                ours.url,
                talks,
                concurrency=arguments.concurrency,
                max_tokens=arguments.max_tokens,
                think_s=arguments.think_ms / 1000,
            )
        )


def _replicas(count: int) -> list[str]:
    return [f"r{i}" for i in range(1, count + 1)]


if __name__ == "__main__":
    sys.exit(main())

"""The command line -> options."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from bench.common.report import OUT
from bench.engine.options import Hardware, Options
from bench.engine.sizes import TINY, Sizes, sizes_of

EXPERIMENTS = ("affinity", "offload", "tiers", "chat")
_ROOT = Path(__file__).resolve().parents[2]
_SEED = 20261122


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """`experiment` or `report`, and what goes with it."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in EXPERIMENTS:
        _experiment(commands.add_parser(name, formatter_class=argparse.ArgumentDefaultsHelpFormatter))
    report = commands.add_parser("report", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    help_text = "folder of an experiment's --out: its summaries and plots become those of the documentation"
    report.add_argument("--take", type=Path, metavar="DIR", help=help_text)
    return parser.parse_args(argv)


def options(arguments: argparse.Namespace) -> Options:
    """Of an experiment.

    Raises:
        BenchFailed: there is no vLLM.
    """
    venv = arguments.engine_venv.absolute()
    if not (venv / "bin" / "vllm").exists():
        raise BenchFailed(f"{venv}/bin/vllm is missing: `make engine` installs it, or say where with --engine-venv")
    model = arguments.model
    built = venv / "models" / model
    path = str(built) if built.is_dir() else model
    served = model.rstrip("/").rpartition("/")[2]
    kind = "gpu" if arguments.gpus else "cpu"
    places = tuple((arguments.gpus or arguments.cores).split(","))
    quick = arguments.quick
    return Options(
        model=path,
        served=served,
        venv=venv,
        hardware=Hardware(kind, places, arguments.alive or (1 if arguments.gpus else 3)),
        engine_arguments=tuple(shlex.split(arguments.engine_args)),
        replicas=arguments.replicas,
        sizes=_sizes(arguments, served),
        images=arguments.images or (4 if quick else None),
        requests=arguments.requests or (12 if quick else None),
        concurrency=arguments.concurrency or (4 if quick else 8),
        image_side=arguments.image_size,
        repeats=arguments.repeats or (1 if quick else 3),
        seed=arguments.seed,
        out=(arguments.out or OUT / "engine" / (f"{served}-quick" if quick else served)).absolute(),
        quick=quick,
        fresh=arguments.fresh,
    )


def _experiment(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default=TINY, help="built by `make engine`, a folder, or a name of the hub")
    add("--load-format", default=None, metavar="NAME", help="of the weights: dummy, auto (default: as the model's)")
    add("--engine-venv", type=Path, default=_ROOT / ".venv-engine", metavar="DIR", help="has bin/vllm and bin/lmcache")
    add("--engine-args", default="", metavar="WORDS", help="further arguments of `vllm serve`")
    add("--replicas", type=int, default=2, help="where more than one is compared")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--cores", default="0,1", help="of each replica; 0-3,4-7 gives four to each")
    where.add_argument("--gpus", default="", metavar="LIST", help="of each replica: 0,1; two for each: 0+1,2+3")
    add("--alive", type=int, default=0, help="sets of engines kept side by side (0: three on cores, one on GPUs)")
    add("--blocks", type=int, nargs="+", default=None, metavar="N", help="the cap, or the two caps, of the KV cache")
    add("--roomy-blocks", type=int, default=None, metavar="N", help="the KV cache of runs without pressure")
    add("--block-size", type=int, default=None, metavar="TOKENS")
    add("--images", type=int, default=None, help="(default: the experiment's)")
    add("--requests", type=int, default=None, help="(default: the experiment's)")
    add("--image-size", type=int, default=1024, metavar="PIXELS", help="width and height")
    add("--concurrency", type=int, default=0, help="requests in flight (0: 8)")
    add("--repeats", type=int, default=0, help="of every variant, each with a seed of its own (0: 3)")
    add("--seed", type=int, default=_SEED)
    add("--out", type=Path, default=None, metavar="DIR", help="(default: bench/out/engine/MODEL)")
    add("--fresh", action="store_true", help="measure again what is there already")
    add("--quick", action="store_true", help="four images, twelve requests, one repeat: does it work at all")


def _sizes(arguments: argparse.Namespace, served: str) -> Sizes:
    sizes = sizes_of(arguments.model if served != TINY else TINY)
    if arguments.quick:
        sizes = sizes.quick()
    changed: dict[str, Any] = {"load_format": arguments.load_format, "roomy_blocks": arguments.roomy_blocks}
    changed["block_size"] = arguments.block_size
    if blocks := arguments.blocks:
        changed |= {"affinity_blocks": blocks[0], "offload_blocks": (blocks[0], blocks[-1]), "chat_blocks": blocks[0]}
    return replace(sizes, **{name: value for name, value in changed.items() if value is not None})

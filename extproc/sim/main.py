"""`kvgate sim`: one simulated replica in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import uvloop

from extproc.sim.server import start
from extproc.sim.settings import EngineSettings, SimSettings

_GRACE_S = 10.0
_Number = TypeVar("_Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `run` reads."""
    engine = EngineSettings()
    add = parser.add_argument
    add("--name", default="sim", help="what it calls itself")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=_at_least(0, int), default=8101, help="0 chooses a free one and prints it")
    add("--model", action="append", metavar="NAME", help="a model name to serve; may be repeated (default: sim-model)")
    add("--lora", action="append", default=[], metavar="NAME", help="an adapter name to serve; may be repeated")
    add("--data-parallel-size", type=_at_least(1, int), default=1, metavar="N", help="engines behind the one address")
    add("--block-size", type=_at_least(1, int), default=engine.block_size, help="tokens in a KV block")
    capacity = parser.add_mutually_exclusive_group()
    capacity.add_argument("--kv-blocks", type=_at_least(1, int), default=engine.kv_blocks, help="KV cache, in blocks")
    capacity.add_argument("--kv-tokens", type=_at_least(1, int), help="KV cache, in tokens")
    add("--prefill-tokens-per-s", type=_rate, default=engine.prefill_tokens_per_s, help="may be inf")
    add("--decode-tokens-per-s", type=_rate, default=engine.decode_tokens_per_s, help="of a lone stream; may be inf")
    add("--step-overhead-ms", type=_at_least(0, float), help="fixed cost of an engine step (default: 1, or 0 at inf)")
    add("--latency-ms", type=_at_least(0, float), default=0.0, help="added before a request reaches the engine")
    add("--max-num-seqs", type=_at_least(1, int), default=engine.max_num_seqs, help="requests running at once")
    add("--max-num-batched-tokens", type=_at_least(1, int), default=engine.max_num_batched_tokens, help="in a step")
    add("--max-model-tokens", type=_at_least(1, int), help="longest prompt and output (default: the KV cache)")
    add("--kv-events-endpoint", metavar="ADDRESS", help="publish KV events there, e.g. tcp://127.0.0.1:5557")
    add("--kv-events-replay", metavar="ADDRESS", help="answer replay requests there")


def settings_from(args: argparse.Namespace) -> SimSettings:
    """The settings that parsed arguments ask for.

    Raises:
        ValueError: they contradict each other.
    """
    kv_blocks = args.kv_tokens // args.block_size if args.kv_tokens else args.kv_blocks
    engine = EngineSettings(
        block_size=args.block_size,
        kv_blocks=kv_blocks,
        max_num_seqs=args.max_num_seqs,
        max_num_batched_tokens=args.max_num_batched_tokens,
        prefill_tokens_per_s=args.prefill_tokens_per_s,
        decode_tokens_per_s=args.decode_tokens_per_s,
        step_overhead_s=_overhead_s(args),
    )
    return SimSettings(
        name=args.name,
        host=args.host,
        port=args.port,
        models=tuple(args.model or ("sim-model",)),
        loras=tuple(args.lora),
        data_parallel_size=args.data_parallel_size,
        engine=engine,
        latency_s=args.latency_ms / 1000,
        max_model_tokens=args.max_model_tokens,
        kv_events_endpoint=args.kv_events_endpoint,
        kv_events_replay=args.kv_events_replay,
        shutdown_grace_s=_GRACE_S,
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        settings = settings_from(args)
    except ValueError as error:
        sys.stderr.write(f"kvgate sim: {error}\n")
        return 2
    try:
        uvloop.run(_serve(settings))
    except OSError as error:
        sys.stderr.write(f"kvgate sim: cannot listen on {settings.host}:{settings.port}: {error}\n")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="kvgate sim", description="A simulated vLLM replica.")
    add_arguments(parser)
    return run(parser.parse_args())


async def _serve(settings: SimSettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with await start(settings) as sim:
        sys.stdout.write(f"kvgate sim {settings.name} listening on {sim.url}\n")
        sys.stdout.flush()
        await stopping.wait()


def _overhead_s(args: argparse.Namespace) -> float:
    if args.step_overhead_ms is not None:
        return float(args.step_overhead_ms) / 1000
    instant = args.prefill_tokens_per_s == args.decode_tokens_per_s == float("inf")
    return 0.0 if instant else EngineSettings().step_overhead_s


def _rate(text: str) -> float:
    rate = float(text)
    if not rate > 0:
        raise argparse.ArgumentTypeError(f"must be above 0: {text}")
    return rate


def _at_least(least: int, kind: Callable[[str], _Number]) -> Callable[[str], _Number]:
    def parse(text: str) -> _Number:
        number = kind(text)
        if not number >= least:
            raise argparse.ArgumentTypeError(f"must be at least {least}: {text}")
        return number

    return parse

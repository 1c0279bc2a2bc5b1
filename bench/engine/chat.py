"""A multi-round chat through the gateway, with `lmcache bench engine` as the client: somebody else's load."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.common.errors import BenchFailed
from bench.common.processes import running, tail
from bench.engine.commands import Command, Setup
from bench.engine.counters import FINISHED
from bench.engine.experiment import COMPARED, Experiment, Variant
from bench.engine.loads import ChatLoad
from bench.engine.options import Options
from bench.engine.outcome import Outcome, of_times

_TOKENS_PER_GB = 1000  # of the load generator's arithmetic, which is used only to tell it the number of users
_ENDS_WITHIN_S = 600.0


def chat_experiment(options: Options) -> Experiment:
    """Two replicas; users talk in turns that grow. A replica's cache holds about half of the users' histories."""
    load = options.sizes.chat
    setup = Setup(options.replicas, options.sizes.chat_blocks)
    scenario = f"{load.users} users"
    return Experiment(
        "chat",
        "Multi-round chat, sent by `lmcache bench engine`",
        tuple(Variant(scenario, name, setup, routing, load) for name, routing in COMPARED.items()),
        {scenario: "Each turn repeats the whole conversation: staying with its replica should win."},
    )


def chat(
    options: Options,
    load: ChatLoad,
    url: str,
    seed: int,
    folder: Path,
    grown: Callable[[], Mapping[str, Mapping[str, float]]],
) -> tuple[Outcome, str]:
    """Runs it to its end: what it measured, and its command line.

    Raises:
        BenchFailed: it failed, or any of its requests did.
    """
    command = _command(options, load, url, seed, folder)
    log = folder / "lmcache-bench.log"
    with running(command.argv, log, dict(command.env)) as process:
        try:
            status = process.wait(_ENDS_WITHIN_S + load.duration_s)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"lmcache bench did not end:\n{tail(log)}") from None
    results = folder / "bench_results.csv"
    if status or not results.exists():
        raise BenchFailed(f"lmcache bench ended with status {status}:\n{tail(log)}")
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    counted = grown()
    finished = {name: int(each.get(FINISHED, 0)) for name, each in counted.items()}
    begun_s = min(float(row["submit_time"]) for row in rows)
    wall_s = max(float(row["finish_time"]) for row in rows) - begun_s
    times_ms = [float(row["ttft"]) * 1000 for row in rows]
    return of_times(times_ms, wall_s, counted, requests=finished, failures=0), command.line()


def _command(options: Options, load: ChatLoad, url: str, seed: int, folder: Path) -> Command:
    tokens = load.users * (load.system_words + load.history_words)
    argv = [str(options.venv / "bin" / "lmcache"), "bench", "engine", "--engine-url", url, "--model", options.served]
    argv += ["--workload", "multi-round-chat", "--no-interactive", "--quiet", "--ignore-eos", "--seed", str(seed)]
    argv += ["--tokens-per-gb-kvcache", str(_TOKENS_PER_GB), "--kv-cache-volume", f"{tokens / _TOKENS_PER_GB:g}"]
    argv += ["--mrc-shared-prompt-length", str(load.system_words)]
    argv += ["--mrc-chat-history-length", str(load.history_words)]
    argv += ["--mrc-user-input-length", str(load.question_words), "--mrc-output-length", str(load.output_tokens)]
    argv += ["--mrc-qps", f"{load.requests_per_s:g}", "--mrc-duration", f"{load.duration_s:g}"]
    argv += ["--output-dir", str(folder)]
    env = {"LMCACHE_TRACK_USAGE": "false", "LMCACHE_DISABLE_BANNER": "1"}
    if "OPENAI_API_KEY" not in os.environ:
        env["OPENAI_API_KEY"] = "none"  # its client wants one; the gateway here does not
    return Command("lmcache-bench", tuple(argv), tuple(env.items()))

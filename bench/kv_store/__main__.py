"""Large values to Redis: directly, through `tcp_proxy`, through `redis_proxy` to one server and to two.

All run side by side and take turns within every repeat; ratios are taken within a repeat.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from bench.common.gateway import gateway
from bench.common.machine import describe
from bench.common.ports import free_ports
from bench.common.processes import find, running, stop_on_sigterm
from bench.common.report import print_table, write_json

OPERATIONS = ("SET", "GET")
VARIANTS: Mapping[str, tuple[int, bool]] = {
    "tcp_proxy": (1, False),
    "redis_proxy, 1": (1, True),
    "redis_proxy, 2": (2, True),
}
"""Name -> how many servers, and whether commands are read."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.kv_store", description=__doc__)
    parser.add_argument("--value-bytes", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=8, help="connections; LMCache's adapter has 8")
    parser.add_argument("--requests", type=int, default=400, help="of each kind, in a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/out/kv_store.json"))
    arguments = parser.parse_args(argv)
    stop_on_sigterm()
    try:
        rates = measure(arguments)
    except BenchFailed as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    show(rates, arguments.value_bytes)
    write_json(arguments.out, {"machine": describe(), "settings": vars(arguments) | {"out": ""}, "per_s": rates})
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Way -> operation -> operations per second, of each repeat."""
    rates: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="kvgate-bench-") as folder, ways(Path(folder)) as ports:
        for _ in range(arguments.repeats):
            for way, port in ports.items():
                for operation, rate in load(port, arguments).items():
                    rates.setdefault(way, {}).setdefault(operation, []).append(rate)
    return rates


@contextmanager
def ways(folder: Path) -> Iterator[Mapping[str, int]]:
    """Name of a way to Redis -> the port to ask."""
    redis = find("redis-server", "redis-server")
    with ExitStack() as stack:
        servers = free_ports(2)
        for port in servers:
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            stack.enter_context(running([redis, *options], folder / f"redis-{port}.log"))
        ports = {"direct": servers[0]}
        for name, (count, reads) in VARIANTS.items():
            (ports[name],) = free_ports(1)
            store = {
                "port": ports[name],
                "servers": [f"127.0.0.1:{port}" for port in servers[:count]],
                "read_commands": reads,
            }
            (mock,) = free_ports(1)
            stack.enter_context(gateway(sections(mock, store), folder / name.replace(", ", "-")))
        yield ports


def sections(mock_port: int, store: Mapping[str, Any]) -> dict[str, Any]:
    provider = {"name": "idle", "type": "mock", "base_url": f"http://127.0.0.1:{mock_port}"}
    return {
        "kv_store": dict(store),
        "providers": [provider],
        "models": [{"name": "m", "deployments": [{"provider": "idle"}]}],
    }


def load(port: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Operations per second as redis-benchmark has them.

    Raises:
        BenchFailed: it failed.
    """
    argv = [find("redis-benchmark", "redis-tools"), "-p", str(port), "-t", "set,get", "--csv"]
    argv += ["-d", str(arguments.value_bytes), "-c", str(arguments.clients), "-n", str(arguments.requests)]
    # Sixteen keys, so that two servers both have some.
    done = subprocess.run([*argv, "-r", "16"], capture_output=True, text=True, timeout=300, check=False)
    rows = {row["test"]: float(row["rps"]) for row in csv.DictReader(done.stdout.splitlines())}
    if done.returncode or not set(OPERATIONS) <= set(rows):
        raise BenchFailed(f"redis-benchmark failed on port {port}:\n{done.stdout}{done.stderr}")
    return rows


def show(rates: Mapping[str, Mapping[str, Sequence[float]]], value_bytes: int) -> None:
    """Medians, and the median of the ratios to `direct`."""
    rows = []
    for way, found in rates.items():
        row = [way]
        for operation in OPERATIONS:
            pairs = zip(found[operation], rates["direct"][operation], strict=True)
            rate = statistics.median(found[operation])
            ratio = statistics.median(here / there for here, there in pairs)
            row += [f"{rate * value_bytes / 1e6:,.0f} MB/s", f"{ratio:.2f}"]
        rows.append(row)
    print_table(["way", "SET", "of direct", "GET", "of direct"], rows)


if __name__ == "__main__":
    sys.exit(main())

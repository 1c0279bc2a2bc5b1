"""What is measured: gateways with one policy each, before replicas that take no time and replicas that do."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from bench.common.gateway import gateway
from bench.common.ports import free_ports
from bench.common.processes import answers, running, until_ready
from bench.overhead.backend import HEALTH_PATH, Backend

INSTANT, SLOW = "bench", "sim"
"""Models: of nginx, and of simulated replicas."""
BUDGET_USD = 6.0
PRICES = {"cost_per_1k_input": 1.0, "cost_per_1k_output": 2.0}
_SIMS = 2
_PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class Instance:
    """One gateway."""

    url: str
    operations_url: str

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample on its metrics page; 0 if it is not there."""
        with urllib.request.urlopen(f"{self.operations_url}/metrics", timeout=10) as response:
            page = response.read().decode()
        wanted = "".join(f'(?=.*{label}="{re.escape(value)}")' for label, value in labels.items())
        found = re.search(rf"^{name}(?:\{{{wanted}[^}}]*\}})? (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0


@dataclass(frozen=True, slots=True)
class Sims:
    """Simulated replicas that all instances share."""

    urls: tuple[str, ...]

    def states(self) -> list[dict[str, Any]]:
        """What each says of itself."""
        return [_get_json(f"{url}/sim/state") for url in self.urls]

    @property
    def received(self) -> int:
        """Requests so far."""
        return sum(state["received"] for state in self.states())


@dataclass(frozen=True, slots=True)
class Stage:
    """All that runs for one backend of the policies.

    Args:
        name: `memory` or `redis`.
        redis_url: None in memory.
        caching: gateways with a response cache and no limits.
        limiting: gateways with limits and a budget and no cache.
    """

    name: str
    redis_url: str | None
    caching: tuple[Instance, ...]
    limiting: tuple[Instance, ...]
    sims: Sims


@contextlib.contextmanager
def sims(folder: Path) -> Iterator[Sims]:
    """Simulated replicas that generate some hundred tokens a second; stopped at the end."""
    folder.mkdir()
    ports = free_ports(_SIMS)
    with contextlib.ExitStack() as stack:
        for port in ports:
            argv = [sys.executable, "-m", "extproc", "sim", "--port", str(port), "--model", SLOW]
            argv += ["--prefill-tokens-per-s", "50000", "--decode-tokens-per-s", "200", "--max-num-seqs", "256"]
            log = folder / f"{port}.log"
            process = stack.enter_context(running(argv, log))
            until_ready(process, log, partial(answers, f"http://127.0.0.1:{port}/health"), "kvgate sim")
        yield Sims(tuple(f"http://127.0.0.1:{port}" for port in ports))


@contextlib.contextmanager
def stage(behind: Backend, slow: Sims, folder: Path, redis_url: str | None) -> Iterator[Stage]:
    """One gateway of each kind in memory, two of each with Redis; stopped at the end."""
    folder.mkdir()
    store = {"backend": "redis", "redis_url": redis_url} if redis_url else {"backend": "memory"}
    caching = {"cache": store}
    limiting = {
        "cache": {"enabled": False},
        "ratelimit": {**store, "default_rpm": 60 * _PLENTY, "burst": _PLENTY, "default_tpm": 1000 * _PLENTY},
        "budget": {**store, "enabled": True, "default_usd": BUDGET_USD},
    }
    with contextlib.ExitStack() as stack:

        def start(name: str, policy: Mapping[str, Any]) -> Instance:
            (port,) = free_ports(1)
            sections = {**_replicas(behind, slow), **policy, "operations": {"port": port}}
            ours = stack.enter_context(gateway(sections, folder / name, envoy_threads=1))
            return Instance(ours.url, f"http://127.0.0.1:{port}")

        each = range(2 if redis_url else 1)
        yield Stage(
            "redis" if redis_url else "memory",
            redis_url,
            tuple(start(f"caching-{number}", caching) for number in each),
            tuple(start(f"limiting-{number}", limiting) for number in each),
            slow,
        )


def _replicas(behind: Backend, slow: Sims) -> dict[str, Any]:
    def provider(name: str, urls: list[str], **more: str) -> dict[str, Any]:
        replicas = [{"name": f"{name}{number}", "url": url} for number, url in enumerate(urls)]
        return {"name": name, "type": "openai_compatible", "replicas": replicas, **more}

    return {
        "providers": [
            provider("instant", behind.urls, health_path=HEALTH_PATH, metrics_path=""),
            provider("slow", list(slow.urls)),
        ],
        "models": [
            {"name": INSTANT, "deployments": [{"provider": "instant"}]},  # costs nothing, so its budget never ends
            {"name": SLOW, "deployments": [{"provider": "slow", **PRICES}]},
        ],
    }


def _get_json(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            page: dict[str, Any] = json.load(response)
            return page
    except OSError as error:
        raise BenchFailed(f"{url}: {error}") from None

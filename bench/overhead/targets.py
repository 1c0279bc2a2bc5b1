"""What is measured: the backend, plain Envoy before it, KVGate before it."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.common.errors import BenchFailed
from bench.common.gateway import Gateway, gateway
from bench.common.processes import tail
from bench.overhead.backend import HEALTH_PATH, Backend
from bench.overhead.cases import MODEL, PATH, bodies
from bench.overhead.plain_envoy import plain_envoy

NAMES = ("direct", "envoy", "kvgate")
_PROVIDER = "backend"


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers requests.

    Args:
        pids: process ids by role: `backend`, `envoy`, `processor`.
        gateway: of KVGate alone.
    """

    name: str
    url: str
    pids: Mapping[str, Collection[int]] = field(default_factory=dict)
    gateway: Gateway | None = None

    def probe(self) -> None:
        """Sends each body once.

        Raises:
            BenchFailed: the answer is not 200, or the processor did not choose the replica.
        """
        for name, body in bodies().items():
            request = urllib.request.Request(self.url + PATH, body, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    status, headers = response.status, response.headers
            except OSError as error:
                raise BenchFailed(f"{self.name}, {name}: {error}{self._log()}") from None
            if status != 200:
                raise BenchFailed(f"{self.name}, {name}: status {status}{self._log()}")
            if self.gateway and not headers.get("x-kvgate-predicted-cached-tokens"):
                raise BenchFailed(f"{self.name}, {name}: the request took the KV-blind route{self._log()}")

    def skipped(self) -> int:
        """Requests that Envoy let past the processor because it was away, slow or wrong."""
        if self.gateway is None:
            return 0
        return sum(self.gateway.counters("ext_proc.*failure_mode_allowed$").values())

    def _log(self) -> str:
        return f"\n{tail(self.gateway.log)}" if self.gateway else ""


@contextlib.contextmanager
def targets(names: Collection[str], behind: Backend, folder: Path, *, threads: int) -> Iterator[list[Target]]:
    """The named targets, all running side by side; stopped at the end.

    Args:
        threads: of either Envoy.
    """
    backend_pids = {"backend": behind.pids}
    with contextlib.ExitStack() as stack:
        started: list[Target] = []
        if "direct" in names:
            started.append(Target("direct", behind.urls[0], backend_pids))
        if "envoy" in names:
            plain = stack.enter_context(plain_envoy(behind, folder / "plain", threads=threads))
            started.append(Target("envoy", plain.url, {**backend_pids, "envoy": (plain.pid,)}))
        if "kvgate" in names:
            sections = {
                "providers": [
                    {
                        "name": _PROVIDER,
                        "type": "openai_compatible",
                        "health_path": HEALTH_PATH,
                        "replicas": [{"name": f"r{i}", "url": url} for i, url in enumerate(behind.urls, 1)],
                    }
                ],
                "models": [{"name": MODEL, "deployments": [{"provider": _PROVIDER}]}],
            }
            ours = stack.enter_context(gateway(sections, folder / "kvgate", envoy_threads=threads))
            pids = {**backend_pids, "envoy": (ours.child("envoy"),), "processor": (ours.child("processor"),)}
            started.append(Target("kvgate", ours.url, pids, ours))
        for target in started:
            target.probe()
        yield started

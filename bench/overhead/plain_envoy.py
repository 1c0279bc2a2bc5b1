"""The floor: the same Envoy with the same buffer limits, and nothing in the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.common.machine import envoy_path
from bench.common.ports import free_ports
from bench.common.processes import answers, running, until_ready
from bench.overhead.backend import HEALTH_PATH, Backend

_BODY_BYTES = 64 << 20
_CONNECTION_BYTES = 1 << 20
_TYPE = "type.googleapis.com/envoy.extensions."
_MANAGER = _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager"
_MANY = 100_000


@dataclass(frozen=True, slots=True)
class PlainEnvoy:
    """One that serves."""

    url: str
    pid: int


@contextlib.contextmanager
def plain_envoy(behind: Backend, folder: Path, *, threads: int) -> Iterator[PlainEnvoy]:
    """Starts it; stopped at the end."""
    folder.mkdir()
    port, admin_port = free_ports(2)
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(yaml.safe_dump(_bootstrap(port, admin_port, behind.ports)))
    argv = [envoy_path(), "-c", str(config), "--concurrency", str(threads), "--log-level", "warning"]
    argv += ["--disable-hot-restart"]
    with running(argv, log) as process:
        url = f"http://127.0.0.1:{port}"
        until_ready(process, log, lambda: answers(url + HEALTH_PATH), "plain Envoy")
        yield PlainEnvoy(url, process.pid)


def _bootstrap(port: int, admin_port: int, backend_ports: tuple[int, ...]) -> dict[str, Any]:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": _TYPE + "filters.http.router.v3.Router"}}
    host = {
        "name": "all",
        "domains": ["*"],
        "request_body_buffer_limit": _BODY_BYTES,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}],
    }
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "plain",
        "codec_type": "AUTO",
        "route_config": {"name": "plain", "virtual_hosts": [host]},
        "http_filters": [router],
    }
    listener = {
        "name": "plain",
        "address": _address(port),
        "per_connection_buffer_limit_bytes": _CONNECTION_BYTES,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    limits = {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY}
    endpoints = [{"endpoint": {"address": _address(each)}} for each in backend_ports]
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "3s",
        "per_connection_buffer_limit_bytes": _CONNECTION_BYTES,
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

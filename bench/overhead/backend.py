"""What stands behind the proxies: nginx with a fixed reply, or simulated replicas that take no time."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from bench.common.ports import free_ports
from bench.common.processes import answers, find, running, until_ready
from bench.overhead.cases import MODEL

HEALTH_PATH = "/health"
_REPLICAS = 3
_REPLY = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 2,
        "total_tokens": 122,
        "prompt_tokens_details": {"cached_tokens": 64},
    },
}
# `return` alone answers before it has read the body. So mirror reads it whole, in memory; empty_gif, which knows no
# POST, gives way to the reply. mirror's copy of the request ends in nothing.
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
{listen}
    location = {health} {{ return 200 "ok"; }}
    location = /nothing {{ internal; return 204; }}
    location / {{ mirror /nothing; empty_gif; error_page 405 =200 @reply; }}
    location @reply {{ default_type application/json; return 200 '{reply}'; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """Three addresses that all answer.

    Args:
        pids: the processes that do.
    """

    ports: tuple[int, ...]
    pids: tuple[int, ...]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]


@contextlib.contextmanager
def backend(kind: str, folder: Path) -> Iterator[Backend]:
    """`nginx` or `sim`; stopped at the end.

    Raises:
        BenchFailed: nginx is not installed, or the backend does not start.
    """
    folder.mkdir()
    with _nginx(folder) if kind == "nginx" else _sims(folder) as started:
        yield started


@contextlib.contextmanager
def _nginx(folder: Path) -> Iterator[Backend]:
    ports = free_ports(_REPLICAS)
    listen = "\n".join(f"    listen 127.0.0.1:{port};" for port in ports)
    config, log = folder / "nginx.conf", folder / "nginx.log"
    config.write_text(_NGINX.format(folder=folder, listen=listen, health=HEALTH_PATH, reply=json.dumps(_REPLY)))
    argv = [find("nginx", "nginx-light"), "-c", str(config), "-p", str(folder), "-e", str(log)]
    with running(argv, log) as process:
        until_ready(process, log, lambda: answers(f"http://127.0.0.1:{ports[0]}{HEALTH_PATH}"), "nginx")
        workers = [child.pid for child in psutil.Process(process.pid).children()]
        yield Backend(tuple(ports), tuple(workers))


@contextlib.contextmanager
def _sims(folder: Path) -> Iterator[Backend]:
    ports = free_ports(_REPLICAS)
    with contextlib.ExitStack() as stack:
        processes = []
        for port in ports:
            argv = [sys.executable, "-m", "extproc", "sim", "--port", str(port), "--model", MODEL]
            argv += ["--prefill-tokens-per-s", "inf", "--decode-tokens-per-s", "inf"]
            log = folder / f"sim-{port}.log"
            processes.append((stack.enter_context(running(argv, log)), log, f"http://127.0.0.1:{port}{HEALTH_PATH}"))
        for process, log, url in processes:
            until_ready(process, log, partial(answers, url), "kvgate sim")
        yield Backend(tuple(ports), tuple(process.pid for process, _, _ in processes))

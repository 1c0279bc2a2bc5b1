"""The commands for operators, against a gateway that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from extproc.console.top_view import sparkline
from tests.envoy.gateway import Gateway, until
from tests.ports import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "operators-only-4711"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Gateway]:
    async with Gateway(operations={"token": TOKEN}) as running:
        for turn in range(3):
            await running.chat("a long story " * 100 + str(turn), stream=True)
        yield running


class Done(NamedTuple):
    """What a command left."""

    status: int
    output: str
    errors: str

    @property
    def answer(self) -> Any:
        return json.loads(self.output)


async def kvgate(*arguments: str, config: Path | None = None) -> Done:
    options = ("-c", str(config)) if config else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", *arguments, *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Done(process.returncode or 0, output.decode(), errors.decode())


async def test_every_answer_is_for_people_and_as_json_for_programs(fleet: Gateway) -> None:
    config = fleet.dir / "kvgate.yaml"
    commands = {
        "status": "ready",
        "tenants": "default",
        "replicas list": "serving",
        "caches stats": "exact",
        "config show": "name: sims",
        "top": "WARM",
    }
    shown = await asyncio.gather(*(kvgate(*command.split(), config=config) for command in commands))
    for (command, says), text in zip(commands.items(), shown, strict=True):
        assert (text.status, text.errors) == (0, ""), command
        assert says in text.output
        assert TOKEN not in text.output
    look, listed = await asyncio.gather(
        kvgate("top", "--once", "--json", config=config), kvgate("replicas", "list", "--json", config=config)
    )
    assert look.answer["replicas"] and look.answer["decisions"] and look.answer["stats"]["requests"] >= 3
    assert [each["name"] for each in listed.answer["replicas"]] == list(fleet.replicas)


async def test_a_replica_is_drained_waited_for_and_sent_requests_again(fleet: Gateway) -> None:
    config = fleet.dir / "kvgate.yaml"
    drained = await kvgate("replicas", "drain", "r0", "--wait", "--json", config=config)
    assert (drained.status, drained.answer["state"], drained.answer["inflight"]) == (0, "draining", 0)
    back = await kvgate("replicas", "undrain", "r0", config=config)
    assert (back.status, back.output) == (0, "r0 gets requests again (serving)\n")


async def test_exit_statuses_tell_scripts_what_happened(fleet: Gateway, tmp_path: Path) -> None:
    config, wrong = fleet.dir / "kvgate.yaml", tmp_path / "wrong.yaml"
    wrong.write_text("servre: {}\n")
    (port,) = free_ports(1)
    refused, silent, usage, invalid, nobody = await asyncio.gather(
        kvgate("replicas", "remove", "nobody", config=config),
        kvgate("status", "--address", f"unix:{tmp_path}/nobody.sock", config=config),
        kvgate("replicas", "drain"),
        kvgate("validate", "--json", config=wrong),
        kvgate("top", "--port", str(port), config=Path("kvgate.yaml")),
    )
    assert (refused.status, refused.errors) == (1, "kvgate: not found: No replica is named 'nobody'.\n")
    assert silent.status == nobody.status == 3
    assert f"kvgate-{os.getuid()}-{port}/processor.sock" in nobody.errors
    assert usage.status == 2
    assert (invalid.status, invalid.answer["problems"][0]["line"]) == (1, 1)


async def test_a_gateway_is_found_though_its_file_is_not_valid_any_more(fleet: Gateway) -> None:
    config = fleet.dir / "kvgate.yaml"
    good = config.read_text()
    config.write_text(good + "servre: {}\n")
    reload, status = await kvgate("config", "reload", config=config), await kvgate("status", config=config)
    assert (reload.status, status.status) == (1, 0)
    assert 'did you mean "server"?' in reload.errors and 'did you mean "server"?' in status.output
    config.write_text(good)
    assert (await kvgate("config", "reload", config=config)).status == 0


async def test_top_fills_a_terminal_and_leaves_it_on_ctrl_c(fleet: Gateway) -> None:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "top", "-c", str(fleet.dir / "kvgate.yaml"), "--interval", "0.1"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"},
        # Whoever runs tests in the background may have them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(slave)
    os.set_blocking(master, False)
    screen = bytearray()

    def look() -> None:
        with contextlib.suppress(OSError):  # nothing new, or nobody there any more
            screen.extend(os.read(master, 65536))

    def shown() -> bool:
        look()
        return screen.count(b"REPLICA") >= 6  # three looks, two tables each

    def left() -> bool:
        look()  # to a terminal that is not read, nobody can say goodbye
        return process.returncode is not None

    try:
        await until(shown, lambda: screen.decode(errors="replace"))
        process.send_signal(signal.SIGINT)
        await until(left, lambda: screen.decode(errors="replace")[-2000:])
        assert process.returncode == 130
    finally:
        if process.returncode is None:
            process.kill()
        os.close(master)
    assert b"r0" in screen and b"serving" in screen


async def test_a_sparkline_shows_the_latest_and_the_highest() -> None:
    assert sparkline([0.1] * 30 + [0.4], width=3) == "▂▂█"
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "▁▁"

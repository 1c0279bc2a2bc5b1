"""Programs beside the gateway: started in order, kept running, stopped in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from extproc.config.programs import Program
from extproc.programs import ProgramMissing, Programs, check_commands
from tests.ports import free_port

WITHIN_S = 20


@pytest_asyncio.fixture
async def programs() -> AsyncIterator[Programs]:
    running = Programs()
    yield running
    await running.stop()


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    path = tmp_path / "diary"
    path.touch()
    return path


async def test_a_program_starts_when_those_before_it_are_ready(programs: Programs, diary: Path) -> None:
    port = free_port()
    store = writer("store", diary, listens_on=port, ready_url=f"tcp://127.0.0.1:{port}")
    await programs.replace([writer("engine", diary, after=("store",)), store])
    await written(diary, "store starts", "store listens", "engine starts")


async def test_a_program_is_ready_when_its_page_answers(programs: Programs, diary: Path, page: str) -> None:
    await programs.replace([writer("engine", diary, ready_url=page), writer("client", diary, after=("engine",))])
    await asyncio.wait_for(programs.until_ready(), WITHIN_S)
    await written(diary, "engine starts", "client starts")


async def test_programs_stop_before_those_that_they_need(diary: Path) -> None:
    programs = Programs()
    await programs.replace([writer("store", diary), writer("engine", diary, after=("store",))])
    await written(diary, count=2)
    await programs.stop()
    assert lines(diary)[2:] == ["engine stops", "store stops"]


async def test_a_program_that_dies_is_started_again_and_what_it_left_behind_is_ended(
    programs: Programs, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    code = f"""
        import pathlib, subprocess, time
        worker = subprocess.Popen(["sleep", "1000"])
        with pathlib.Path({str(left)!r}).open("a") as file:
            file.write(f"{{worker.pid}}\\n")
        time.sleep(1000)
    """
    await programs.replace([Program(name="engine", command=python(code))])
    await written(left, count=1)
    pid = programs.children["engine"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await written(left, count=2)
    first, _ = map(int, lines(left))
    assert not is_running(first)


async def test_only_what_has_changed_is_started_again(programs: Programs, diary: Path) -> None:
    kept = writer("kept", diary)
    await programs.replace([kept, writer("gone", diary), writer("changed", diary)])
    await written(diary, count=3)
    pid = programs.children["kept"].pid
    changed = writer("changed", diary).model_copy(update={"env": {"DIARY_NAME": "other"}})
    await programs.replace([kept, changed, writer("new", diary)])
    await written(diary, count=7)
    assert sorted(lines(diary)[3:5]) == ["changed stops", "gone stops"]
    assert sorted(lines(diary)[5:]) == ["new starts", "other starts"]
    assert programs.children["kept"].pid == pid


async def test_a_program_that_waits_is_no_obstacle_to_the_end(diary: Path) -> None:
    programs = Programs()
    never = writer("never", diary, ready_url=f"tcp://127.0.0.1:{free_port()}")
    await programs.replace([never, writer("waits", diary, after=("never",))])
    await written(diary, "never starts")
    await asyncio.wait_for(programs.stop(), WITHIN_S)
    assert lines(diary) == ["never starts", "never stops"]


async def test_what_a_program_prints_has_its_name_in_front(
    programs: Programs, diary: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    code = "import os, time; os.write(1, b'one\\ntw'); os.write(2, b'o\\nend'); time.sleep(0.1)"
    await programs.replace([Program(name="engine", command=python(code))])
    printed = b""
    async with within():
        while b"end" not in printed:
            await asyncio.sleep(0.01)
            printed += capfdbinary.readouterr().err
    assert b"engine | one\nengine | two\nengine | end\n" in printed


async def test_a_command_that_is_gone_is_named_and_tried_again(
    programs: Programs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await programs.replace([Program(name="engine", command=(str(tmp_path / "nothing"),))])
        async with within():
            while len(caplog.messages) < 2:
                await asyncio.sleep(0.01)
    assert "engine cannot be started (No such file or directory)" in caplog.messages[0]


def test_a_command_that_is_not_there_is_told_before_anything_starts() -> None:
    there = Program(name="there", command=(sys.executable,))
    missing = Program(name="vllm-0", command=("no-such-engine", "serve"))
    with pytest.raises(ProgramMissing, match=r"'vllm-0' cannot be started: there is no command 'no-such-engine'"):
        check_commands([there, missing])
    check_commands([there])


def writer(
    name: str,
    diary: Path,
    *,
    after: tuple[str, ...] = (),
    listens_on: int | None = None,
    ready_url: str | None = None,
) -> Program:
    """A program that writes down when it starts, listens, and stops."""
    code = f"""
        import os, pathlib, signal, socket, sys, time
        def write(what):
            with pathlib.Path({str(diary)!r}).open("a") as file:
                file.write(f"{{os.environ['DIARY_NAME']}} {{what}}\\n")
        def stop(*_):
            write("stops")
            sys.exit()
        signal.signal(signal.SIGTERM, stop)
        write("starts")
        if {listens_on!r}:
            time.sleep(0.2)
            write("listens")
            listener = socket.create_server(("127.0.0.1", {listens_on!r}))
        time.sleep(1000)
    """
    return Program(name=name, command=python(code), env={"DIARY_NAME": name}, after=after, ready_url=ready_url)


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", textwrap.dedent(code)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def written(path: Path, *expected: str, count: int = 0) -> None:
    """Waits for these lines, or for so many."""
    async with within():
        while len(lines(path)) < (len(expected) or count):
            await asyncio.sleep(0.01)
    if expected:
        assert lines(path) == list(expected)


@contextlib.asynccontextmanager
async def within() -> AsyncIterator[None]:
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(WITHIN_S, task.cancel)
    yield
    handle.cancel()


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(") ")[2][0] != "Z"


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a page that answers 503 at first."""
    statuses = iter([503, 503])

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(statuses, 200))
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", free_port()), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()
        thread.join()

"""`kvgate sim` as a process: its arguments, its ready line, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from extproc.sim.main import add_arguments, run, settings_from
from tests.unit.sim.wire import chat


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A replica in a process of its own, and its URL."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc.sim", "--port", "0", *arguments), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        ready = (await child.stdout.readline()).decode()
        match = re.fullmatch(r"kvgate sim (\S+) listening on (http://127\.0\.0\.1:\d+)\n", ready)
        assert match, ready
        yield child, match[2]
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def test_a_process_says_where_it_listens_and_ends_on_sigterm(http: aiohttp.ClientSession) -> None:
    async with process("--name", "alpha", "--decode-tokens-per-s", "100") as (child, url):
        body = chat(model="sim-model", max_tokens=20, stream=True)
        async with http.post(url + "/v1/chat/completions", json=body) as reply:
            await reply.content.readany()
            child.send_signal(signal.SIGTERM)
            assert (await reply.read()).endswith(b"data: [DONE]\n\n")
        assert await child.wait() == 0


async def test_die_is_a_sudden_exit_with_137(http: aiohttp.ClientSession) -> None:
    async with process() as (child, url):
        with pytest.raises(aiohttp.ClientError):
            await http.post(url + "/sim/faults", json={"mode": "die"})
        assert await child.wait() == 137


async def test_a_taken_port_is_said_and_ends_with_1() -> None:
    async with process() as (_, url):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "extproc.sim", "--port", url.rpartition(":")[2]), stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await child.communicate()
        assert child.returncode == 1
        assert b"cannot listen on" in complaint


def test_arguments_become_settings() -> None:
    settings = settings_from(
        parsed(
            *("--model", "a", "--model", "b", "--block-size", "32", "--kv-tokens", "3200", "--latency-ms", "5"),
            *("--prefill-tokens-per-s", "inf", "--decode-tokens-per-s", "inf", "--max-num-seqs", "7"),
        )
    )
    assert settings.models == ("a", "b")
    assert (settings.engine.block_size, settings.engine.kv_blocks, settings.engine.max_num_seqs) == (32, 100, 7)
    assert settings.engine.step_s(1000, 7) == 0.0
    assert settings.latency_s == 0.005


def test_settings_that_contradict_each_other_are_a_usage_error() -> None:
    assert run(parsed("--kv-events-replay", "tcp://127.0.0.1:*")) == 2


@pytest.mark.parametrize("bad", [("--port", "-1"), ("--decode-tokens-per-s", "0"), ("--block-size", "0")])
def test_nonsense_numbers_are_refused(bad: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*bad)

"""What runs beside the requests goes on, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from extproc.background import Background


async def test_what_fails_is_told_of_and_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    background, again, runs = Background(pause_s=0.0), asyncio.Event(), 0

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ZeroDivisionError("a fault of ours")
        again.set()

    background.start("counting sheep", fragile)
    await again.wait()
    await background.stop()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == ["counting sheep failed; begun anew in 0 s"] * 2
    assert all(record.exc_info for record in errors)


async def test_one_that_fails_leaves_the_others_alone() -> None:
    background, ended = Background(pause_s=0.0), []

    async def sleeper() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("sleeper")

    failed = asyncio.Event()

    async def fails() -> None:
        failed.set()
        raise ZeroDivisionError

    background.start("sleeping", sleeper)
    background.start("failing", fails)
    await failed.wait()
    assert not ended
    await background.stop()
    assert ended == ["sleeper"]


async def test_what_returns_is_done() -> None:
    background, runs = Background(pause_s=0.0), []
    done = asyncio.Event()

    async def once() -> None:
        runs.append(1)
        done.set()

    background.start("doing it once", once)
    await done.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    await background.stop()
    assert runs == [1]

"""The link to Redis: slow, gone, killed, back again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from extproc.clock import MonotonicClock
from extproc.redis_link import RedisLink, StoreDown
from tests.redis_server import RedisServer


def link_to(server: RedisServer, timeout_s: float = 0.25) -> RedisLink:
    return RedisLink(server.url, MonotonicClock(), timeout_s=timeout_s)


async def ping(link: RedisLink) -> bool:
    return bool(await link.run(lambda redis: redis.ping()))  # type: ignore[arg-type]


async def answers(link: RedisLink) -> bool:
    try:
        return await ping(link)
    except StoreDown:
        return False


async def until_it_answers(link: RedisLink) -> None:
    while not await answers(link):
        await asyncio.sleep(0.02)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not any(record.exc_info for record in caplog.records), "a traceback"
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage().split(" (")[0] for record in caplog.records]


async def test_a_redis_that_is_gone_at_start_is_told_of_once_and_found_when_it_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with RedisServer(started=False) as server:
        link = link_to(server)
        for _ in range(50):
            with pytest.raises(StoreDown):
                await ping(link)
        assert told(caplog) == ["Redis does not answer"]
        await asyncio.to_thread(server.start)
        await until_it_answers(link)
        assert told(caplog) == ["Redis does not answer", "Redis answers again"]
        await link.close()


async def test_killed_and_restarted_under_load_it_is_told_of_once_each(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    link = link_to(redis, timeout_s=5)
    answered = failed = 0
    stop = asyncio.Event()

    async def load() -> None:
        nonlocal answered, failed
        while not stop.is_set():
            if await answers(link):
                answered += 1
            else:
                failed += 1
                await asyncio.sleep(0.001)

    clients = [asyncio.create_task(load()) for _ in range(20)]
    for _ in range(2):
        await until_it_answers(link)
        redis.kill()
        while not link.down:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(redis.start)
        while link.down:
            await asyncio.sleep(0.001)
    stop.set()
    await asyncio.gather(*clients)
    assert answered and failed
    assert told(caplog) == ["Redis does not answer", "Redis answers again"] * 2
    await link.close()


async def test_while_it_is_slow_only_the_first_calls_wait(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    link = link_to(redis)
    await ping(link)
    redis.pause()
    with pytest.raises(StoreDown, match="Timeout"):
        await ping(link)
    sent = link.failures
    for _ in range(1000):
        with pytest.raises(StoreDown):
            await ping(link)
    assert link.failures - sent <= 3
    redis.resume()
    await until_it_answers(link)
    assert told(caplog) == ["Redis does not answer", "Redis answers again"]
    await link.close()


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(redis: RedisServer) -> None:
    link = link_to(redis)
    await link.run(lambda r: r.set("first", "1"))  # type: ignore[arg-type]
    await link.run(lambda r: r.set("second", "2"))  # type: ignore[arg-type]
    redis.pause()
    with pytest.raises(StoreDown):
        await link.run(lambda r: r.get("first"))  # type: ignore[arg-type]
    redis.resume()
    await until_it_answers(link)
    assert await link.run(lambda r: r.get("second")) == b"2"  # type: ignore[arg-type]
    await link.close()


async def test_a_password_in_the_url_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with RedisServer(started=False) as server:
        link = RedisLink(f"redis://:hunter2@127.0.0.1:{server.port}/0", MonotonicClock())
        with pytest.raises(StoreDown) as error:
            await ping(link)
        assert "hunter2" not in caplog.text + str(error.value)
        await link.close()

"""A real Redis for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.redis_server import RedisServer


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One for all tests of a module."""
    server = RedisServer(started=False)
    server.start()
    yield server
    server.close()

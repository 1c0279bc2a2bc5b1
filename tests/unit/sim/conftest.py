from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from extproc.sim import RunningSim
from tests.unit.sim.wire import SLOW, launch


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def sim() -> AsyncIterator[RunningSim]:
    """A replica that takes no time."""
    async with await launch() as running:
        yield running


@pytest.fixture
async def slow_sim() -> AsyncIterator[RunningSim]:
    """A replica that decodes 200 tokens a second."""
    async with await launch(SLOW) as running:
        yield running

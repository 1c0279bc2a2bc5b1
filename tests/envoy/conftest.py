"""A whole gateway for tests: `kvgate run` in a process of its own, on free ports, with simulated replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.envoy.gateway import Gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Three replicas, one model called m; nobody else uses it."""
    async with Gateway() as running:
        yield running

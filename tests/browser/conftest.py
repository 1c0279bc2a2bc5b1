"""A real browser for tests. Without Chromium they are skipped: `apt-get install chromium`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.chromium import Browser, chromium, executable


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Headless, for all tests of a module: each page has a storage of its own."""
    if executable() is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    async with chromium() as running:
        yield running

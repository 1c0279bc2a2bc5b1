"""A real browser for tests. Without Chromium they are skipped: `apt-get install chromium`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.browser.chromium import Browser, chromium, executable


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Headless, with nothing in it."""
    if executable() is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    async with chromium() as running:
        yield running

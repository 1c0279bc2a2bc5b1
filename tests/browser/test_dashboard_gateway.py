"""The dashboard of a real gateway: Envoy, processor and replicas, through the operations listener."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.chromium import Browser
from tests.envoy.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTEN = """
(() => {
  const { onChange } = kvgate.poller;
  kvgate.poller.onChange = (failure) => {
    window.failed ??= failure?.error.kind;
    onChange(failure);
  };
})()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as running:
        yield running


async def test_a_request_is_seen_from_its_arrival_to_its_receipt(browser: Browser, gateway: Gateway) -> None:
    async with browser.page() as page:
        await page.go(f"{gateway.operations_url}/dashboard")
        await page.until("document.querySelectorAll('.rows .replica').length === 3")
        prompt: list[Any] = [{"role": "user", "content": "How warm is it? " * 100}]
        for _ in range(2):
            answer = await gateway.openai.chat.completions.create(model="m", messages=prompt, max_tokens=4)
            assert answer.choices
        await page.until("kvgate.live.decisions.length === 2 && kvgate.live.decisions.newest().status === 200")
        decision = await page.evaluate("kvgate.live.decisions.newest()")
        assert decision["reason"] == "warm"
        await page.evaluate(f"location.hash = '#/decisions/{decision['id']}'")
        await page.until("document.querySelectorAll('.bars li').length === 3")
        said = await page.text(".receipt")
        assert f"Went to {decision['replica']}" in said
        assert decision["request_id"] in said
        for view in ("usage", "docs", "fleet"):
            await page.evaluate(f"location.hash = '#/{view}'")
            await page.until(f"document.querySelector('#tabs [aria-current]').hash === '#/{view}'")
        assert page.errors == []
        assert [each for each in page.requests if not each.startswith(gateway.operations_url)] == []


async def test_a_processor_that_dies_is_said_until_it_is_back(browser: Browser, gateway: Gateway) -> None:
    async with browser.page() as page:
        await page.go(f"{gateway.operations_url}/dashboard")
        await page.until("document.querySelectorAll('.rows .replica').length === 3")
        await page.evaluate(LISTEN)
        gateway.kill("serve")
        await page.until("kvgate.poller.now() && window.failed")  # it may be back before the next second
        assert await page.evaluate("window.failed") == "gateway"
        await page.until("document.querySelector('#banner').hidden")
        await page.until("document.querySelector('#health').textContent !== 'Not current'")

"""The dashboard of a large fleet, and after a long day."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Browser
from tests.browser.fake_admin import FakeAdmin
from tests.browser.test_dashboard import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_ELEMENTS = 4000
ELEMENTS = "document.querySelectorAll('*').length"
A_DAY = """
(async () => {
  const { live } = kvgate;
  kvgate.poller.stop();
  const { replicas } = await (await fetch('/admin/replicas')).json();
  const [sample] = (await (await fetch('/admin/decisions?limit=1')).json()).decisions;
  let id = live.decisions.newest()?.id ?? 0;
  window.simulate = (from, polls) => {
    for (let second = from; second < from + polls; second += 1) {
      const now = 1.9e9 + second;
      for (const each of replicas) Object.assign(each, { routed: each.routed + 1, failures: second % 7 });
      live.takeReplicas(structuredClone(replicas), now);
      const open = second % 3 === 0; // of which nothing more is ever heard
      id += 1;
      live.takeDecisions([{ ...sample, id, at_unix_s: now, duration_s: open ? -1 : 1, request_id: `r${id}` }]);
      if (second % 600 === 0) { location.hash = second % 1200 ? '#/fleet' : '#/decisions'; }
    }
    window.dispatchEvent(new Event('resize')); // brings the view up to date
  };
})()
"""


async def test_200_replicas_and_10_000_decisions_fit_in_a_page_of_bounded_size(browser: Browser) -> None:
    async with FakeAdmin(replicas=200, decisions=12_000) as fake, browser.page() as page:
        await opened(page, fake)
        await page.until("document.querySelectorAll('.rows .replica').length === 60")
        assert await page.count(".tiles i") == 200
        assert await page.evaluate(ELEMENTS) < MOST_ELEMENTS
        await page.evaluate("location.hash = '#/decisions'")
        for _ in range(40):
            await page.evaluate("kvgate.poller.now()")
        await page.until("kvgate.live.decisions.length === 10000")
        assert await page.count(".decisions tbody tr") == 50
        assert await page.evaluate(ELEMENTS) < MOST_ELEMENTS
        assert page.errors == []


async def test_trouble_is_on_top_of_a_large_fleet(browser: Browser) -> None:
    async with FakeAdmin(replicas=200) as fake, browser.page() as page:
        fake.replicas[150].update(state="in_doubt", failures=3)
        fake.replicas[70].update(wait_s=9.0)
        await opened(page, fake)
        await page.until("document.querySelectorAll('.rows .replica').length === 60")
        first = "[...document.querySelectorAll('.rows .replica')].slice(0, 2).map((each) => each.id)"
        assert await page.evaluate(first) == ["replica-replica-151", "replica-replica-71"]


async def test_a_page_that_stays_open_for_a_day_does_not_grow(browser: Browser) -> None:
    async with FakeAdmin(replicas=8) as fake, browser.page() as page:
        await opened(page, fake)
        await page.evaluate(A_DAY)
        await page.evaluate("simulate(0, 28800)")
        elements, heap_bytes = await page.evaluate(ELEMENTS), await page.heap_bytes()
        await page.evaluate("simulate(28800, 57600)")
        assert await page.evaluate("kvgate.live.decisions.length") == 10_000
        assert await page.evaluate(ELEMENTS) < elements + 500
        assert await page.heap_bytes() < heap_bytes + 2**20
        assert page.errors == []


async def test_decisions_that_come_faster_than_they_can_be_shown_are_said_to_be_a_sample(browser: Browser) -> None:
    async with FakeAdmin(decisions=10) as fake, browser.page() as page:
        await opened(page, fake, "decisions")
        await page.until("kvgate.live.decisions.length === 10")
        for _ in range(2000):
            fake.decide(fake.now)
        await page.until("document.querySelector('.panel-head .when').innerText.includes('a sample')")

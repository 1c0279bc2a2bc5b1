"""The dashboard when something is wrong: with the gateway, the fleet, or who is looking."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Browser
from tests.browser.fake_admin import FakeAdmin
from tests.browser.test_dashboard import WELL, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTEN = """
(() => {
  const { onChange } = kvgate.poller;
  window.seen = [];
  kvgate.poller.onChange = (failure) => {
    if (failure) window.seen.push(failure.nextAt - Date.now());
    onChange(failure);
  };
})()
"""
HIDE = """
Object.defineProperty(document, 'hidden', {{ value: {0}, configurable: true }});
document.dispatchEvent(new Event('visibilitychange'));
"""
BANNER = "document.querySelector('#banner')"


async def test_a_gateway_that_is_gone_is_said_and_forgotten_when_it_is_back(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake)
        await page.until("document.querySelectorAll('.rows .replica').length === 4")
        await fake.stop()
        await page.until(f"!{BANNER}.hidden && {BANNER}.innerText.includes('cannot be reached')")
        said = await page.text("#banner")
        assert "Since " in said and "of before" in said
        assert await page.text("#health") == "Not current"
        assert await page.count(".rows .replica") == 4, "what was known stays"
        await fake.start()
        await page.click("#banner button")
        await page.until(f"{BANNER}.hidden")
        await page.until(WELL)


async def test_it_asks_less_and_less_often_while_nobody_answers(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake)
        fake.broken = 503
        await page.evaluate(LISTEN)
        await page.until(f"!{BANNER}.hidden")
        for _ in range(6):
            await page.evaluate("kvgate.poller.now()")
        assert await page.evaluate("window.seen.every((each, at) => !at || each > window.seen[at - 1] || each > 29e3)")
        assert await page.evaluate("window.seen.at(-1) <= 30e3 && window.seen.at(-1) > 29e3")
        assert "its processor does not: The processor cannot be asked" in await page.text("#banner")


async def test_slow_answers_do_not_make_requests_pile_up(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake)
        fake.answering.clear()
        fake.asked.clear()
        await page.until("document.querySelector('main')")
        for _ in range(20):
            await page.evaluate("kvgate.poller.now() && 0")
        assert fake.asked.count("/admin/replicas") <= 1
        fake.answering.set()


async def test_a_hidden_page_asks_nothing_and_a_page_that_is_seen_again_asks_at_once(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake)
        await page.evaluate(HIDE.format("true"))
        await page.evaluate("new Promise((done) => setTimeout(done, 300))")  # what was under way is answered
        fake.asked.clear()
        await page.evaluate("new Promise((done) => setTimeout(done, 2500))")
        assert fake.asked == []
        before = await page.evaluate("kvgate.live.at_unix_s")
        await page.evaluate(HIDE.format("false"))
        await page.until(f"kvgate.live.at_unix_s > {before}")


async def test_a_token_is_asked_for_once_and_stays_in_the_tab(browser: Browser) -> None:
    async with FakeAdmin(token="open sesame") as fake, browser.page() as page:
        await page.go(f"{fake.url}/dashboard")
        await page.until(f"{BANNER}.innerText.includes('asks for its operations token')")
        field = "document.querySelector('#banner input')"
        await page.evaluate(f"{field}.value = 'wrong'; {field}.form.requestSubmit()")
        await page.until(f"{BANNER}.innerText.includes('not accepted')")
        await page.evaluate(f"{field}.value = 'open sesame'; {field}.form.requestSubmit()")
        await page.until(WELL)
        await page.go(f"{fake.url}/dashboard#/usage")
        await page.until(WELL)
        assert await page.evaluate("localStorage.length") == 0


async def test_what_is_wrong_comes_first_and_worst_first(browser: Browser) -> None:
    async with FakeAdmin(replicas=5) as fake, browser.page() as page:
        fake.replicas[1].update(state="in_doubt", failures=4)
        fake.replicas[2].update(wait_s=4.2, kv_usage=0.98)
        fake.replicas[3].update(state="draining", inflight=6)
        fake.status["config_error"] = "kvgate.yaml:12: unknown strategy."
        fake.status["warnings"] = ["Draining: replica-4.", "Not known to serve: replica-2."]  # in other words
        await opened(page, fake)
        await page.until("document.querySelectorAll('.problems li').length === 5")
        levels = await page.evaluate("[...document.querySelectorAll('.problems li')].map((each) => each.className)")
        assert levels == ["bad", "bad", "warn", "warn", "note"]
        said = await page.text(".problems")
        for words in ("kvgate.yaml:12", "replica-2: failed lately", "wait up to 4.20 s", "6 requests still in flight"):
            assert words in said
        assert await page.text("#health") == "4 to look at"


async def test_failing_requests_are_a_problem(browser: Browser) -> None:
    async with FakeAdmin(decisions=0) as fake, browser.page() as page:
        await opened(page, fake)
        for number in range(100):
            fake.decide(fake.now, status=503 if number < 10 else 200, cache="miss")
        await page.until("document.querySelector('.problems').innerText.includes('10.0 % of requests fail')")


async def test_a_fleet_without_replicas_says_what_to_do(browser: Browser) -> None:
    async with FakeAdmin(replicas=0, decisions=0) as fake, browser.page() as page:
        await opened(page, fake)
        await page.until("document.querySelector('.problems').innerText.includes('There are no replicas')")
        assert "providers" in await page.text(".fleet .empty")
        await page.evaluate("location.hash = '#/decisions'")
        await page.until("document.querySelector('main').innerText.includes('No requests yet')")
        assert page.errors == []


async def test_a_gateway_that_was_restarted_is_noticed(browser: Browser) -> None:
    async with FakeAdmin(decisions=40) as fake, browser.page() as page:
        await opened(page, fake)
        await page.until("kvgate.live.decisions.length === 40")
        fake.decisions.clear()
        fake.decide(fake.now)
        fake.started_unix_s = fake.now
        await page.until("kvgate.live.decisions.length === 1")

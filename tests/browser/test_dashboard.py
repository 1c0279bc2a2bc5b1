"""The dashboard in a real browser, with a gateway that is well."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Browser, Page
from tests.browser.fake_admin import FakeAdmin

pytestmark = pytest.mark.asyncio(loop_scope="module")

WELL = "document.querySelector('#health').textContent === 'All well'"
CHOOSE = """
(() => {{
  const labels = [...document.querySelectorAll('.filters label')];
  const select = labels.find((each) => each.textContent.startsWith('{0}')).querySelector('select');
  select.value = '{1}';
  select.dispatchEvent(new Event('change'));
}})()
"""
VIEWS = ("fleet", "decisions", "usage", "experiments", "docs")


async def opened(page: Page, fake: FakeAdmin, view: str = "fleet") -> None:
    await page.go(f"{fake.url}/dashboard#/{view}")
    await page.until("window.kvgate?.live.at_unix_s > 0")
    await page.until("document.querySelector('main').firstChild")


async def test_it_loads_without_a_complaint_and_asks_nobody_but_its_gateway(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        for view in VIEWS:
            await opened(page, fake, view)
        await page.until("document.querySelector('.prose h1')")
        assert page.errors == []
        assert [each for each in page.requests if not each.startswith(fake.url)] == []


async def test_replicas_figures_and_charts_are_there(browser: Browser) -> None:
    async with FakeAdmin(replicas=4) as fake, browser.page() as page:
        await opened(page, fake)
        fake.serve(20)
        await page.until("document.querySelectorAll('.rows .replica').length === 4")
        await page.until("document.querySelector('.chart .line').getAttribute('d').length > 0")
        row = await page.text("#replica-replica-1")
        assert "replica-1" in row
        assert "of 460k" in row
        assert await page.text(".problems") == "All 4 replicas serve, and nothing needs attention"
        await page.until(WELL)


@pytest.mark.parametrize("now", [1.7e9, 1.9e9])
async def test_charts_go_by_the_gateways_clock(browser: Browser, now: float) -> None:
    async with FakeAdmin(now=now) as fake, browser.page() as page:
        await opened(page, fake)
        await page.until("document.querySelector('.chart .line').getAttribute('d').length > 100")


async def test_requests_flow_to_the_replicas_that_get_them(browser: Browser) -> None:
    async with FakeAdmin(replicas=3) as fake, browser.page() as page:
        fake.replicas[2]["state"] = "draining"
        await opened(page, fake)
        await page.until("document.querySelectorAll('.flow g > g').length === 3")
        fake.serve(50)
        await page.until("document.querySelectorAll('.flow .flowing').length === 2")


async def test_somebody_who_asked_for_less_motion_gets_none(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page(still=True) as page:
        await opened(page, fake)
        await page.until("document.querySelector('.stream')")
        fake.serve(50)
        await page.until("document.querySelector('.flowing')")
        assert await page.evaluate("document.getAnimations().length") == 0


async def test_a_decision_opens_its_receipt_and_escape_closes_it(browser: Browser) -> None:
    async with FakeAdmin(replicas=3) as fake, browser.page() as page:
        there = {"replica": "replica-2", "served_by": "replica-2", "reason": "warm", "cache": "miss"}
        held = {"prompt_tokens": 1523, "matched_tokens": 1474, "predicted_ttft_s": 0.036, "ttft_s": 0.041}
        decision = fake.decide(fake.now, **there, **held)
        await opened(page, fake, "decisions")
        await page.until("document.querySelector('.decisions tbody a')")
        await page.click(".decisions tbody a")
        await page.until("document.querySelector('.bars li')")
        said = await page.text(".receipt")
        assert "Went to replica-2" in said
        assert "1,474 of 1,523 prompt tokens" in said
        assert "41 ms" in said and "36 ms" in said
        assert await page.count(".bars li") == 3
        assert await page.count(".bars .chosen .own_s") == 1
        assert await page.evaluate("location.hash") == f"#/decisions/{decision['id']}"
        await page.press("Escape")
        await page.until("!document.querySelector('dialog').open && location.hash === '#/decisions'")
        assert page.errors == []


async def test_a_receipt_has_an_address_of_its_own(browser: Browser) -> None:
    async with FakeAdmin(decisions=20) as fake, browser.page() as page:
        await opened(page, fake, "decisions/7")
        await page.until("document.querySelector('.receipt h2')")
        assert "decision 7" in await page.text(".receipt")


async def test_a_receipt_that_is_not_kept_any_more_says_so(browser: Browser) -> None:
    async with FakeAdmin(decisions=20) as fake, browser.page() as page:
        await opened(page, fake, "decisions/9999")
        await page.until("document.querySelector('.receipt')?.innerText.includes('not kept any more')")


async def test_decisions_are_filtered_by_any_of_their_traits(browser: Browser) -> None:
    async with FakeAdmin(decisions=300) as fake, browser.page() as page:
        await opened(page, fake, "decisions")
        await page.until("document.querySelectorAll('.decisions tbody tr').length === 50")
        wanted = [each for each in fake.decisions if each["reason"] == "spread" and each["replica"] == "replica-1"]
        await page.evaluate(CHOOSE.format("Reason", "spread"))
        await page.evaluate(CHOOSE.format("Replica", "replica-1"))
        await page.until(f"document.querySelector('.panel-head .when').innerText.endsWith('of {len(wanted)}')")


async def test_a_request_in_flight_is_brought_up_to_date_when_it_ends(browser: Browser) -> None:
    async with FakeAdmin(decisions=0) as fake, browser.page() as page:
        decision = fake.decide(fake.now, status=0, duration_s=-1, ttft_s=-1)
        await opened(page, fake, "decisions")
        await page.until("document.querySelector('.decisions tbody')?.innerText.includes('in flight')")
        decision.update(status=200, duration_s=1.5, ttft_s=0.25)
        await page.until("document.querySelector('.decisions tbody').innerText.includes('1.50 s')")
        assert "250 ms" in await page.text(".decisions tbody")


async def test_the_system_decides_between_light_and_dark_until_somebody_chooses(browser: Browser) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    async with FakeAdmin() as fake, browser.page(dark=True) as page:
        await opened(page, fake)
        assert await page.evaluate(ground) == "rgb(13, 16, 21)"
        await page.click("#theme")  # light
        assert await page.evaluate(ground) == "rgb(243, 244, 246)"
        await opened(page, fake)
        assert await page.evaluate(ground) == "rgb(243, 244, 246)"


@pytest.mark.parametrize("view", [*VIEWS, "docs/docs/how-routing-works.md", "decisions/3"])
async def test_nothing_is_wider_than_a_phone(browser: Browser, view: str) -> None:
    async with FakeAdmin() as fake, browser.page(width=375, height=800, touch=True) as page:
        fake.replicas[1]["name"] = "replica-with-a-name-that-somebody-thought-long-about.example.internal"
        await opened(page, fake, view)
        ready = {"fleet": ".rows .replica", "decisions": ".decisions tbody tr", "docs": ".prose h1"}
        await page.until(f"document.querySelector('{ready.get(view.partition('/')[0], 'main')}')")
        assert await page.evaluate("document.scrollingElement.scrollWidth") == 375


async def test_everything_is_reached_with_the_keyboard_alone(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake)
        focused = "document.activeElement.textContent.trim()"
        reached = []
        for _ in range(8):
            await page.press("Tab")
            reached.append(await page.evaluate(focused))
        assert reached[:7] == ["Skip to the content", "KVGate", "Fleet", "Decisions", "Usage", "Experiments", "Docs"]
        await page.evaluate("document.querySelector('#tabs a[href=\"#/decisions\"]').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('.decisions tbody a')")
        await page.evaluate("document.querySelector('.decisions tbody a').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('dialog[open] .receipt h2')")
        assert await page.evaluate("document.querySelector('dialog').contains(document.activeElement)")


async def test_every_page_of_the_documentation_is_shown_and_its_links_lead_somewhere(browser: Browser) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake, "docs")
        await page.until("document.querySelectorAll('.contents a').length > 3")
        links = "[...document.querySelectorAll('.prose a[href^=\"#/docs/\"]')].map((each) => decodeURI(each.hash))"
        for path in await page.evaluate("[...document.querySelectorAll('.contents a')].map((each) => each.hash)"):
            await page.evaluate(f"location.hash = '{path}'")
            await page.until(f"document.querySelector('.contents [aria-current]')?.hash === '{path}'")
            await page.until("document.querySelector('.prose h1')")
            for link in await page.evaluate(links):
                target, _, heading = link.removeprefix("#/docs/").partition("#")
                assert target in await page.evaluate("fetch('/dashboard/docs.json').then((r) => r.text())"), (
                    path,
                    link,
                )
                if heading:
                    await page.evaluate(f"location.hash = '{link}'")
                    await page.until(f"document.querySelector('.prose #' + CSS.escape('{heading}'))")
        assert page.errors == []

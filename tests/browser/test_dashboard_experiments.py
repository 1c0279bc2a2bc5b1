"""Results of benchmarks in the dashboard: files go in, before and after come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Browser, Page
from tests.browser.fake_admin import FakeAdmin
from tests.browser.test_dashboard import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABOUT = {"taken_at": "2026-11-22T15:32:50+00:00", "commit": "1cb1fb5196fed0be", "machine": {"cores": 2}, "settings": {}}
AIM = {"what": "mean TTFT over the best", "measured": "1.09", "aim": "at most 1.05", "met": False}


def routing(slowdown: float = 1.0) -> dict[str, Any]:
    def run(workload: str, policy: str, ttft_s: float) -> dict[str, Any]:
        cdf = [ttft_s * place / 100 for place in range(201)]
        outcome = {"ttft_mean_s": ttft_s, "ttft_p95_s": 3 * ttft_s, "hit_rate": 1 - ttft_s / 10, "ttft_cdf_s": cdf}
        return {"workload": workload, "cache": "tight", "load": 0.7, "policy": policy, "outcome": outcome, "cpu_s": 1.0}

    runs = [run("viral", "round_robin", 4.0), run("viral", "kvgate", 1.0 * slowdown)]
    runs += [run("agents", "round_robin", 8.0), run("agents", "kvgate", 2.0 * slowdown)]
    return {"benchmark": "routing", **ABOUT, "aims": [AIM], "standings": {"all": []}, "runs": runs}


POLICY = {
    "benchmark": "policy",
    **ABOUT,
    "aims": [{**AIM, "met": True}],
    "hits": [{"backend": each, "hit_p50_ms": 0.8, "routed_p50_ms": 1.6, "ratio": 0.5} for each in ("memory", "redis")],
}
ENGINE = {
    "benchmark": "engine",
    **ABOUT,
    "results": [
        {
            "scenario": "images",
            "strategy": "round_robin",
            "ttft_p50_s": 0.9,
            "tokens_per_s": {"median": 100.0, "min": 90},
        },
        {"scenario": "images", "strategy": "prefix_kv_aware", "ttft_p50_s": 0.3, "tokens_per_s": {"median": 150.0}},
    ],
}


async def drop(page: Page, *files: Path) -> None:
    root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
    picker = (await page.call("DOM.querySelector", nodeId=root, selector="#bench-files"))["nodeId"]
    await page.call("DOM.setFileInputFiles", nodeId=picker, files=[str(file) for file in files])


def written(tmp_path: Path, name: str, document: object) -> Path:
    file = tmp_path / name
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize(
    ("document", "title", "changes"),
    [
        (routing(), "routing: ttft_mean_s", ["-75 %", "-75 %"]),
        (POLICY, "policy: p50_ms", ["-50 %", "-50 %"]),
        (ENGINE, "engine: ttft_p50_s", ["-67 %"]),
    ],
)
async def test_a_result_is_shown_before_and_after(
    browser: Browser, tmp_path: Path, document: dict[str, Any], title: str, changes: list[str]
) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake, "experiments")
        await drop(page, written(tmp_path, "result.json", document))
        await page.until("document.querySelector('.duels li')")
        assert title in await page.text(".experiments")
        shown = "[...document.querySelectorAll('.change')].map((each) => each.innerText.replace('\\u2212', '-'))"
        assert await page.evaluate(shown) == changes
        assert await page.count(".cdf path") == (2 if document is not POLICY and document is not ENGINE else 0)
        assert page.errors == []


async def test_two_files_of_one_benchmark_are_compared_with_each_other(browser: Browser, tmp_path: Path) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake, "experiments")
        await drop(page, written(tmp_path, "old.json", routing()), written(tmp_path, "new.json", routing(1.5)))
        await page.until("document.querySelectorAll('.chips li').length === 2")
        assert "before: old.json" in await page.text(".duels, .legend")
        assert "after: new.json" in await page.text(".legend")


async def test_aims_that_were_missed_are_not_hidden(browser: Browser, tmp_path: Path) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake, "experiments")
        await drop(page, written(tmp_path, "result.json", routing()))
        await page.until("document.body.innerText.includes('0 of 1 met')")
        assert "missed" in await page.text(".experiments")


@pytest.mark.parametrize(
    "document", [[], "words", 7, None, {}, {"benchmark": "routing", "runs": []}, {"runs": [1, None]}]
)
async def test_a_file_that_is_no_result_is_refused_with_a_reason(
    browser: Browser, tmp_path: Path, document: object
) -> None:
    async with FakeAdmin() as fake, browser.page() as page:
        await opened(page, fake, "experiments")
        await drop(page, written(tmp_path, "strange.json", document))
        await page.until("!document.querySelector('.complaint').hidden")
        assert "strange.json" in await page.text(".complaint")
        assert page.errors == []

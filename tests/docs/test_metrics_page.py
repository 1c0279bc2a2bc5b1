"""docs/metrics.md, held against what a processor counts; and what shipped queries ask for, against that page."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT
from tools.metrics_reference import PAGE, page

SURFACE = {
    "kvgate_requests_total": ("model", "status", "stream"),
    "kvgate_request_latency_seconds": ("model",),
    "kvgate_upstream_latency_seconds": ("provider", "model"),
    "kvgate_cache_events_total": ("outcome",),
    "kvgate_tokens_total": ("model", "direction"),
    "kvgate_estimated_cost_usd_total": ("model", "provider"),
    "kvgate_routing_decisions_total": ("model", "provider", "upstream_model"),
    "kvgate_routing_failovers_total": (),
    "kvgate_routing_affinity_total": ("model", "outcome"),
    "kvgate_rate_limited_total": ("tenant",),
    "kvgate_inflight_requests": (),
    "kvgate_budget_spent_usd": ("tenant",),
    "kvgate_budget_rejected_total": ("tenant",),
}
"""Names and labels that users of the first generation have in their dashboards."""


def documented() -> dict[str, tuple[str, ...]]:
    rows = re.findall(r"(?m)^\| `(\w+)` \| \w+ \| ([^|]*) \|", PAGE.read_text("utf-8"))
    return {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_the_page_is_as_the_processor_would_write_it() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"


def test_names_and_labels_that_users_know_are_there() -> None:
    assert {name: documented().get(name) for name in SURFACE} == SURFACE
    assert "kvgate_routing_affinity_matched_blocks" in documented()


def test_what_panels_and_rules_ask_for_exists() -> None:
    files = [
        *(ROOT / "deploy" / "prometheus" / "rules").iterdir(),
        *(ROOT / "deploy" / "grafana" / "dashboards").iterdir(),
    ]
    asked = {name for path in files for name in re.findall(r"\bkvgate_\w+|\bgen_ai_\w+", path.read_text("utf-8"))}
    series = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert len(series) > 40
    assert not series - documented().keys()

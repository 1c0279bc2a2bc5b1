"""The Grafana dashboard: as its code would write it, and as its users know it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from .programs import DEPLOY

pytest.importorskip("grafana_foundation_sdk")

from tools.grafana.__main__ import FILE
from tools.grafana.board import ROWS, board

KNOWN = {
    "Request rate": "kvgate_requests_total",
    "Request latency": "kvgate_request_latency_seconds",
    "Cache hit rate": "kvgate_cache_events_total",
    "Cache events": "kvgate_cache_events_total",
    "Token throughput": "kvgate_tokens_total",
    "Routing decisions": "kvgate_routing_decisions_total",
    "Upstream latency p99": "kvgate_upstream_latency_seconds",
    "Cost": "kvgate_estimated_cost_usd_total",
    "In flight": "kvgate_inflight_requests",
    "Failovers and rate-limited": "kvgate_routing_failovers_total",
}
"""The panels of the first generation, and what they were made of."""


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text())["panels"]
    return found


def test_the_file_is_as_the_code_would_write_it() -> None:
    assert FILE.read_text() == board(), "run `make grafana`"


def test_the_ten_panels_that_users_know_come_first(panels: list[dict[str, Any]]) -> None:
    shown = [panel for panel in panels if panel["type"] != "row"][: len(KNOWN)]
    assert [panel["title"] for panel in shown] == list(KNOWN)
    for panel in shown:
        assert KNOWN[panel["title"]] in panel["targets"][0]["expr"]


def test_there_are_rows_for_routing_caches_tenants_and_envoy(panels: list[dict[str, Any]]) -> None:
    titles = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert titles == [row.title for row in ROWS]
    assert {"Routing quality", "Caches", "Tenants", "Envoy"} <= set(titles)


def test_panels_do_not_overlap_and_each_says_what_it_shows(panels: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"].endswith(".")
        taken |= cells


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert sources[0]["type"] == "prometheus"
    providers = yaml.safe_load((folder / "dashboards" / "kvgate.yml").read_text())["providers"]
    assert providers[0]["options"]["path"] == "/var/lib/grafana/dashboards"

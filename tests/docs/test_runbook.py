"""Who is woken by an alert finds its section in the runbook, and what it names exists."""

from __future__ import annotations

import re

import pytest
import yaml

from extproc.admin.v1 import admin_pb2

from .pages import ROOT, anchors, headings

RUNBOOK = ROOT / "docs" / "operations.md"
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
ALERTS = [
    rule
    for file in RULES
    for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def sections() -> dict[str, str]:
    text = RUNBOOK.read_text("utf-8")
    return dict(re.findall(r"^### (KVGate\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert ALERTS
    assert {rule["alert"] for rule in ALERTS} == {title for title in headings(RUNBOOK, 3) if title.startswith("KVGate")}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_links_to_its_section_and_agrees_on_how_bad_it_is(rule: dict[str, dict[str, str]]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert ROOT / page == RUNBOOK
    assert anchor in anchors(RUNBOOK)
    body = sections()[str(rule["alert"])]
    assert body.lstrip().startswith(f"*{rule['labels']['severity']}.*")
    assert "**Do**" in body


def test_every_admin_path_in_the_documentation_is_one_of_the_api() -> None:
    known = set()
    for method in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods:
        for option, value in method.GetOptions().ListFields():
            if option.name == "http":
                pattern = value.get or value.post or value.delete or value.put
                known.add(re.sub(r"\{\w+\}", r"[\\w-]+", pattern))
    for name in ("operations.md", "quick-start.md", "guide.md"):
        text = (ROOT / "docs" / name).read_text("utf-8")
        for path in re.findall(r"/admin/[\w/-]+", text):
            assert any(re.fullmatch(pattern, path) for pattern in known), f"{name}: {path}"


def test_every_metric_in_the_runbook_is_one_of_the_gateway() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "extproc" / "telemetry").glob("*.py"))
    for name in ("operations.md", "sizing.md", "quick-start.md", "own-envoy.md", "security.md"):
        text = (ROOT / "docs" / name).read_text("utf-8")
        for metric in re.findall(r"\bkvgate_[a-z_]+", text):
            if metric not in ("kvgate_processor", "kvgate_operations"):
                assert f'"{metric}' in source, f"{name}: {metric}"

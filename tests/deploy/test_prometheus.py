"""Prometheus' configuration, rules and alerts, judged by promtool; its tests of the alerts run here, too."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .programs import DEPLOY, ROOT

FOLDER = DEPLOY / "prometheus"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool on this machine (Debian: apt-get install prometheus)"
)


def promtool(*arguments: str) -> str:
    result = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def alerts() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((FOLDER / "rules" / "alerts.yml").read_text())["groups"]:
        yield from group["rules"]


@needs_promtool
def test_promtool_accepts_the_configuration() -> None:
    assert "SUCCESS: prometheus.yml is valid" in promtool("check", "config", "--lint=all", "prometheus.yml")


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "rules/recording.yml", "rules/alerts.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/alerts.yml")


def test_every_alert_is_tested() -> None:
    tests = (FOLDER / "tests" / "alerts.yml").read_text()
    assert not [alert["alert"] for alert in alerts() if alert["alert"] not in tests]


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for alert in alerts():
        name, notes = alert["alert"], alert["annotations"]
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["for"]
        assert notes["summary"] and notes["description"].endswith(".")
        assert notes["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_the_runbook_has_an_entry_for_every_alert() -> None:
    headings = re.findall(r"(?m)^#+ (\w+)$", (ROOT / "docs" / "operations.md").read_text())
    assert not {alert["alert"] for alert in alerts()} - set(headings)

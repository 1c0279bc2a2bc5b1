"""Writes deploy/grafana/dashboards/kvgate.json."""

from __future__ import annotations

from pathlib import Path

from tools.grafana.board import board

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "kvgate.json"

if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(board(), "utf-8")

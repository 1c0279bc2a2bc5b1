"""Every number of the sizing guide's tables stands where it was measured."""

from __future__ import annotations

import re

from .pages import ROOT

GUIDE = (ROOT / "docs" / "sizing.md").read_text("utf-8")
SOURCES = [
    "README.md",
    "docs/how-routing-works.md",
    *(f"bench/{name}README.md" for name in ("", "routing/", "policy/")),
]


def rows(heading: str) -> list[list[str]]:
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_what_the_gateway_costs_is_what_was_measured() -> None:
    sources = "".join((ROOT / path).read_text("utf-8") for path in SOURCES)
    measured = [row for row in rows("The gateway") if len(row) == 3]
    assert len(measured) > 5
    for what, cell, _ in measured:
        for number in re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(r"\([^)]*\)", "", cell)):
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d)", sources), f"{what}: {number}"


def test_how_policies_compare_is_what_was_measured() -> None:
    table = (ROOT / "docs" / "how-routing-works.md").read_text("utf-8")
    for name, row in zip(("kvgate", "round_robin", "least_busy"), rows("The fleet"), strict=True):
        (line,) = [line for line in table.splitlines() if re.match(rf"\| {name} +\|", line)]
        assert all(f" {number} " in line for number in row[1:]), name

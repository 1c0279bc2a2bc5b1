"""Every link of the documentation leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import ROOT, anchors, links, pages


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in pages()])
def test_every_relative_link_and_anchor_resolves(page: str) -> None:
    path = ROOT / page
    broken = []
    for target in links(path):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    unlisted = [path.name for path in (ROOT / "docs").glob("*.md") if path != index and path not in listed]
    assert not unlisted


def test_anchors_are_made_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# User guide\n\n## JWT and OIDC: how?\n\n## Metrics\n\n## Metrics\n\n### providers[].replicas[]\n")
    assert anchors(page) == {"user-guide", "jwt-and-oidc-how", "metrics", "metrics-1", "providersreplicas"}

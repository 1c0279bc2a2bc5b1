"""The dashboard's files: complete, self-contained, and nothing else can be had through the door."""

from __future__ import annotations

import json
import re

import pytest

from extproc.dashboard import asset
from extproc.dashboard.assets import WEB


def content(path: str) -> str:
    found = asset(path)
    assert found is not None, path
    return found[1].decode()


def test_the_empty_path_is_the_page() -> None:
    assert asset("") == asset("/") == asset("index.html")
    assert content("").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "path",
    ["../assets.py", "..%2fassets.py", "/etc/passwd", "web/app.js", "docs/../../pyproject.toml", "docs", "__init__.py"],
)
def test_what_is_not_the_dashboards_cannot_be_had(path: str) -> None:
    assert asset(path) is None


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("app.js", "text/javascript"),
        ("base.css", "text/css"),
        ("icon.svg", "image/svg"),
        ("README.md", "text/markdown"),
    ],
)
def test_files_say_what_they_are(path: str, content_type: str) -> None:
    found = asset(path)
    assert found is not None
    assert found[0].startswith(content_type)


def test_the_page_names_only_files_of_its_own() -> None:
    for path in re.findall(r'(?:href|src)="(/[^"]+)"', content("")):
        assert asset(path.removeprefix("/dashboard/")) is not None, path


def test_modules_import_only_modules_that_are_there() -> None:
    for file in WEB.glob("*.js"):
        for name in re.findall(r"from '([^']+)'", file.read_text("utf-8")):
            assert name.startswith("./"), f"{file.name} imports {name}"
            assert (WEB / name).is_file(), f"{file.name} imports {name}"


def test_nothing_is_loaded_from_another_host() -> None:
    for file in WEB.iterdir():
        addresses = re.findall(r"https?://[^\s'\"`)]+", file.read_text("utf-8"))
        strange = [each for each in addresses if not each.startswith(("http://www.w3.org/", "http://docs/"))]
        assert strange == [], file.name


def test_the_page_has_no_inline_script_and_no_inline_style() -> None:
    """So that its Content-Security-Policy can forbid both."""
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*src=)", content(""))
    assert "script-src 'self'; style-src 'self'" in content("")


def test_the_documentation_is_listed_with_its_titles() -> None:
    pages = json.loads(content("docs.json"))
    titles = {page["path"]: page["title"] for page in pages}
    assert pages[0] == {"path": "README.md", "title": "KVGate"}
    assert titles["docs/guide.md"] == "User guide"
    assert titles["docs/how-routing-works.md"] == "How routing works"
    assert all(asset(page["path"]) is not None for page in pages)

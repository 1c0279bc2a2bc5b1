"""The Markdown files of the repository, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_OURS = {".venv", ".git", "node_modules", "out", ".pytest_cache", ".hypothesis"}
_FENCE = re.compile(r"^[ ]*```(?P<kind>[\w+-]*)[^\n]*\n(?P<body>.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code.

    Args:
        line: of the file, where its text begins.
    """

    path: Path
    line: int
    kind: str
    text: str


def pages() -> list[Path]:
    """Every Markdown file."""
    found = [path for path in ROOT.rglob("*.md") if not _NOT_OURS & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in found if not any(part.startswith(".venv") for part in path.parts))


def fences(path: Path) -> Iterator[Fence]:
    """The blocks of code of a file."""
    text = path.read_text("utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        yield Fence(path, line, match["kind"], match["body"])


def links(path: Path) -> list[str]:
    """Targets of links, those in code apart."""
    prose = re.sub(r"`[^`\n]*`", "`x`", _FENCE.sub("", path.read_text("utf-8")))
    return _LINK.findall(prose)


def anchors(path: Path) -> set[str]:
    """What may stand behind the # of a link to this file, as GitHub makes it of headings."""
    found: dict[str, int] = {}
    named = set()
    for heading in _HEADING.findall(_FENCE.sub("", path.read_text("utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        named.add(f"{slug}-{count}" if count else slug)
    return named


def headings(path: Path, level: int) -> list[str]:
    """The headings of one level, in order."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    return re.findall(rf"^{'#' * level} +(.+?) *$", text, re.MULTILINE)

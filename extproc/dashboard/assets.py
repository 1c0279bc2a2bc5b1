"""Path -> file of the dashboard: the page's own files, and the project's documentation as Markdown."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

WEB = Path(__file__).with_name("web")
_PACKAGE = Path(__file__).parent
_CHECKOUT = Path(__file__).parents[2]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


def asset(path: str) -> tuple[str, bytes] | None:
    """A file of the dashboard, by its path below `/dashboard`.

    Args:
        path: `""` is the page itself; `README.md` and `docs/...` are documentation, `docs.json` lists it.

    Returns:
        Its content type and content; None if there is no such file.
    """
    name = path.strip("/") or "index.html"
    if name == "docs.json":
        return _TYPES[".json"], json.dumps(_contents()).encode()
    file = _files().get(name)
    return None if file is None else (_TYPES[file.suffix], file.read_bytes())


@cache
def _files() -> dict[str, Path]:
    """Whatever may be asked for. A path that is not in this table is not looked for on disk."""
    found = {file.name: file for file in WEB.iterdir()}
    root = _PACKAGE if (_PACKAGE / "docs").is_dir() else _CHECKOUT
    found["README.md"] = root / "README.md"
    found.update({file.relative_to(root).as_posix(): file for file in (root / "docs").rglob("*")})
    return {name: file for name, file in found.items() if file.is_file() and file.suffix in _TYPES}


_FIRST = (
    "README.md",
    "docs/quick-start.md",
    "docs/guide.md",
    "docs/how-routing-works.md",
    "docs/tenants-and-caches.md",
)


def _contents() -> list[dict[str, str]]:
    """The pages of the documentation: those that a newcomer reads first come first."""
    names = sorted(name for name in _files() if name.endswith(".md"))
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return [{"path": name, "title": _title(_files()[name])} for name in names]


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        heading = next((line for line in lines if line.startswith("# ")), f"# {file.stem}")
    return heading[2:].strip()

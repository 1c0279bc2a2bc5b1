"""Measured cells on disk, so that a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.engine.experiment import Cell


class Shelf:
    """A JSON file for each cell.

    Args:
        settings: all that a result depends on. What was measured with others is measured again.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = json.loads(json.dumps(settings))  # as it will be read back: no tuples

    def get(self, cell: Cell) -> dict[str, Any] | None:
        """What was measured, if it still holds."""
        try:
            document = json.loads(self._path(cell).read_text())
        except (OSError, ValueError):
            return None
        found = isinstance(document, dict) and document.get("settings") == self._settings
        return dict(document["measured"]) if found else None

    def put(self, cell: Cell, measured: dict[str, Any]) -> None:
        """Keeps it: whole, or not at all."""
        path = self._path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps({"settings": self._settings, "measured": measured}, indent=1) + "\n")
        unfinished.replace(path)

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.name()}.json"

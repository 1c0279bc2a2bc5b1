"""All cells of an experiment, small enough to be checked in: what tables and plots are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.spread import Spread
from bench.engine.counters import growth, total
from bench.engine.experiment import Cell
from bench.engine.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell.

    Args:
        counted: what the counters of all its engines grew by.
    """

    scenario: str
    variant: str
    repeat: int
    seed: int
    outcome: Outcome
    counted: Mapping[str, float]
    commands: tuple[str, ...]

    @classmethod
    def of(cls, cell: Cell, document: Mapping[str, Any]) -> Measured:
        before, after = document["counters"]["before"], document["counters"]["after"]
        counted = total([*(growth(before[name], after[name]) for name in after), document["redis"]])
        outcome = Outcome.from_json(document["outcome"])
        place = (cell.variant.scenario, cell.variant.name, cell.repeat, int(document["seed"]))
        return cls(*place, outcome, counted, tuple(document["commands"]))


@dataclass(frozen=True, slots=True)
class Summary:
    """An experiment's result.

    Args:
        description: machine, versions, settings.
    """

    experiment: str
    title: str
    model: str
    expected: Mapping[str, str]
    description: Mapping[str, Any]
    cells: tuple[Measured, ...]

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(cell.scenario for cell in self.cells))

    def variants(self, scenario: str) -> list[str]:
        """In the experiment's order, the baseline first."""
        return list(dict.fromkeys(cell.variant for cell in self.cells if cell.scenario == scenario))

    def of(self, scenario: str, variant: str) -> list[Measured]:
        """Its repeats."""
        own = [cell for cell in self.cells if (cell.scenario, cell.variant) == (scenario, variant)]
        return sorted(own, key=lambda cell: cell.repeat)

    def spread(self, scenario: str, variant: str, value: str) -> Spread:
        """Of a field of `Outcome`, over the repeats."""
        return Spread.of([getattr(cell.outcome, value) for cell in self.of(scenario, variant)])

    def as_json(self) -> dict[str, Any]:
        """Commands are those of each variant's first cell: they differ in ports only."""
        commands = {
            f"{scenario}: {variant}": list(self.of(scenario, variant)[0].commands)
            for scenario in self.scenarios()
            for variant in self.variants(scenario)
        }
        cells = [
            {
                "scenario": cell.scenario,
                "variant": cell.variant,
                "repeat": cell.repeat,
                "seed": cell.seed,
                "outcome": cell.outcome.as_json(),
                "counted": dict(cell.counted),
            }
            for cell in self.cells
        ]
        head = {"experiment": self.experiment, "title": self.title, "model": self.model}
        return {**head, "expected": self.expected, **self.description, "commands": commands, "cells": cells}


def load(path: Path) -> Summary:
    """What `as_json` wrote."""
    document = json.loads(path.read_text())
    commands = document.pop("commands")
    cells = tuple(
        Measured(
            cell["scenario"],
            cell["variant"],
            cell["repeat"],
            cell["seed"],
            Outcome.from_json(cell["outcome"]),
            cell["counted"],
            tuple(commands[f"{cell['scenario']}: {cell['variant']}"]),
        )
        for cell in document.pop("cells")
    )
    experiment, title, model, expected = (document.pop(each) for each in ("experiment", "title", "model", "expected"))
    return Summary(experiment, title, model, expected, document, cells)

"""What an experiment is: variants that are compared within a scenario, and the order in which cells are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.engine.commands import Setup
from bench.engine.loads import ChatLoad, Load


@dataclass(frozen=True, slots=True)
class Routing:
    """How the gateway chooses.

    Args:
        prefix_index: "inferred", or "precise" from the engines' KV events.
    """

    strategy: str = "prefix_kv_aware"
    prefix_index: str = "inferred"


COMPARED = {
    "round_robin": Routing("round_robin"),
    "prefix_kv_aware": Routing("prefix_kv_aware"),
    "prefix_kv_aware, precise": Routing("prefix_kv_aware", "precise"),
}
"""Where replicas are compared, by the names of the variants."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One side of a comparison.

    Args:
        scenario: variants of the same one are compared with each other, the first of them is the baseline.
    """

    scenario: str
    name: str
    setup: Setup
    routing: Routing
    load: Load | ChatLoad


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison.

    Args:
        name: of its command and files.
        expected: by scenario, what should come out; written down before it was measured.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    expected: dict[str, str]

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(variant.scenario for variant in self.variants))

    def of(self, scenario: str) -> list[Variant]:
        return [variant for variant in self.variants if variant.scenario == scenario]


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant, measured once."""

    variant: Variant
    repeat: int

    def name(self) -> str:
        """As a path."""
        return f"{slug(self.variant.scenario)}/{slug(self.variant.name)}.{self.repeat}"


def cells(experiment: Experiment, repeats: int) -> Iterator[Cell]:
    """Scenario by scenario. Every other repeat takes its variants backwards: who goes first must not matter."""
    for scenario in experiment.scenarios():
        variants: Sequence[Variant] = experiment.of(scenario)
        for repeat in range(repeats):
            for variant in reversed(variants) if repeat % 2 else variants:
                yield Cell(variant, repeat)


def slug(text: str) -> str:
    """As part of a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower()).strip("-")

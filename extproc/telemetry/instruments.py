"""What counts: numbers in slots while requests pass, text when they are asked for.

The processor is one thread, so a count is an attribute and no lock is taken. A family of series has a bound: what comes
after it is counted together under `other`, so that no client can make the page grow. Format: Prometheus' text
exposition format 0.0.4.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

OTHER = "other"
MOST_SERIES = 1000
MOST_MODELS = 256
"""Models have many series each. Their names are configured, so this is for who reloads with new ones for weeks."""


class Family(Protocol):
    """All series of one name.

    Attributes:
        kind: counter, gauge, histogram or summary.
        labels: their names.
        text: what it is, with its unit.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def text(self) -> str: ...

    def lines(self) -> Iterator[str]:
        """The samples, as text."""
        ...


class Count:
    """One counter: add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def lines(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}{_braced(labels)} {number(self.value)}"


class Spread:
    """One histogram.

    Args:
        bounds: of the buckets, inclusive, rising.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0

    def observe(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """Values so far."""
        return sum(self.counts)

    def lines(self, name: str, labels: str) -> Iterator[str]:
        prefix = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        cumulative = list(accumulate(self.counts))
        for bound, count in zip((*map(number, map(float, self.bounds)), "+Inf"), cumulative, strict=True):
            yield f'{prefix}le="{bound}"}} {count}'
        yield f"{name}_sum{_braced(labels)} {number(self.total)}"
        yield f"{name}_count{_braced(labels)} {cumulative[-1]}"


Cell = TypeVar("Cell", Count, Spread)


class _Cells(Generic[Cell]):
    """Series by label values, each made when it is first asked for."""

    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str], most: int) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._most = most
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._named: list[tuple[str, Cell]] = []
        if not self.labels:
            self.of()

    def __len__(self) -> int:
        return len(self._cells)

    def of(self, *values: str) -> Cell:
        """The series with these label values; that of all others, if there are too many."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
            if len(self._cells) >= self._most:
                values = (OTHER,) * len(values)
                if found := self._cells.get(values):
                    return found
            cell = self._cells[values] = self._new()
            self._named.append((labelled(self.labels, values), cell))
        return cell

    def values(self) -> dict[tuple[str, ...], Cell]:
        """Every series by its label values."""
        return dict(self._cells)

    def lines(self) -> Iterator[str]:
        for labels, cell in self._named:
            yield from cell.lines(self.name, labels)

    def _new(self) -> Cell:
        raise NotImplementedError


class Counter(_Cells[Count]):
    """Counters of one name.

    Args:
        most: series; all further ones are one.
    """

    kind = "counter"

    def __init__(self, name: str, text: str, *labels: str, most: int = MOST_SERIES) -> None:
        super().__init__(name, text, labels, most)

    def _new(self) -> Count:
        return Count()


class Histogram(_Cells[Spread]):
    """Histograms of one name, with the same buckets."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float], *labels: str, most: int = MOST_SERIES) -> None:
        self._bounds = tuple(bounds)
        super().__init__(name, text, labels, most)

    def _new(self) -> Spread:
        return Spread(self._bounds)


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers that are read when they are asked for.

    Args:
        samples: label values and number; of a summary, with the suffix of the name before them.
    """

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]

    def lines(self) -> Iterator[str]:
        for values, value in self.samples:
            suffix = ""
            if self.kind == "summary":
                suffix, *values = values  # type: ignore[assignment]
            yield f"{self.name}{suffix}{_braced(labelled(self.labels, values))} {number(value)}"


def gauge(name: str, text: str, value: float) -> Reading:
    """One number without labels."""
    return Reading(name, "gauge", text, (), [((), value)])


def exposition(families: Iterator[Family]) -> str:
    """A page in the text format."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.text)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines.extend(family.lines())
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """As the format writes it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def labelled(names: Sequence[str], values: Sequence[str]) -> str:
    """`name="value",...`; an empty value is the same as no label, and left out."""
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in pairs if value)


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text

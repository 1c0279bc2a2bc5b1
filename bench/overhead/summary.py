"""Samples -> medians, what was added, and whether the aims were met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.common.report import print_aim, print_table
from bench.common.spread import Spread
from bench.overhead.measure import Sample

ADDED_500B_MS = 0.6
ADDED_1MB_MS = 2.0
PER_CORE = 3000.0
_HEADER = ("case", "target", "p50 ms", "p99 ms", "req/s", "Envoy us", "processor us", "req/s per proc. core", "busy")


class Summary:
    """What a run came to. Differences are taken within a repeat, then their median over the repeats."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._by_key: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            self._by_key.setdefault((sample.case, sample.target), []).append(sample)

    def cases(self) -> list[str]:
        return list(dict.fromkeys(case for case, _ in self._by_key))

    def added_p50_ms(self, case: str, target: str, over: str) -> Spread | None:
        """None unless both were measured."""
        ours, theirs = self._by_key.get((case, target)), self._by_key.get((case, over))
        if not ours or not theirs:
            return None
        return Spread.of([a.load.p50_ms - b.load.p50_ms for a, b in zip(ours, theirs, strict=True)])

    def spread(self, case: str, target: str, value: Callable[[Sample], float | None]) -> Spread | None:
        """None where the target has no such value."""
        values = [value(sample) for sample in self._by_key.get((case, target), ())]
        known = [each for each in values if each is not None]
        return Spread.of(known) if known else None

    def print(self) -> None:
        print_table(_HEADER, [self._row(case, target) for case, target in self._by_key])
        print(
            "\nCPU is user + system per request; `busy` is the share of all cores that were in use. Median (min..max)."
        )
        rows = [
            (case, target, over, f"{added.text(3)} ms")
            for case in self.cases()
            for target, over in (("kvgate", "envoy"), ("kvgate", "direct"), ("envoy", "direct"))
            if (added := self.added_p50_ms(case, target, over))
        ]
        if rows:
            print()
            print_table(("case", "target", "over", "added p50"), rows)
        print("\nAims:")
        for aim in self.aims():
            print_aim(aim["what"], aim["measured"], aim["aim"], aim["met"])

    def aims(self) -> list[dict[str, Any]]:
        """Those that what was measured can tell."""
        found = []
        for case, limit_ms in (("500B-1", ADDED_500B_MS), ("1MB-1", ADDED_1MB_MS)):
            if added := self.added_p50_ms(case, "kvgate", "envoy"):
                what = f"p50 added over plain Envoy, {case}"
                found.append(_aim(what, f"{added.text(2)} ms", f"<= {limit_ms} ms", added.median <= limit_ms))
        if rate := self.spread("500B-16", "kvgate", lambda sample: sample.per_core("processor")):
            what = "requests per second and processor core, 500B-16"
            found.append(_aim(what, rate.text(0), f">= {PER_CORE:,.0f}", rate.median >= PER_CORE))
        return found

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "case": case,
                "target": target,
                **{name: _json(self.spread(case, target, value)) for name, value in _VALUES.items()},
                "added_p50_over_envoy_ms": _json(self.added_p50_ms(case, target, "envoy")),
                "added_p50_over_direct_ms": _json(self.added_p50_ms(case, target, "direct")),
            }
            for case, target in self._by_key
        ]

    def _row(self, case: str, target: str) -> list[str]:
        digits = {"p50_ms": 3, "p99_ms": 2, "requests_per_s": 0, "busy": 2}
        cells = []
        for name, value in _VALUES.items():
            spread = self.spread(case, target, value)
            cells.append(spread.text(digits.get(name, 0)) if spread else "-")
        return [case, target, *cells]


_VALUES: dict[str, Callable[[Sample], float | None]] = {
    "p50_ms": lambda sample: sample.load.p50_ms,
    "p99_ms": lambda sample: sample.load.p99_ms,
    "requests_per_s": lambda sample: sample.load.requests_per_s,
    "envoy_cpu_us": lambda sample: sample.cpu_us("envoy"),
    "processor_cpu_us": lambda sample: sample.cpu_us("processor"),
    "requests_per_s_per_processor_core": lambda sample: sample.per_core("processor"),
    "busy": lambda sample: sample.machine_busy,
}


def _aim(what: str, measured: str, aim: str, met: bool) -> dict[str, Any]:
    return {"what": what, "measured": measured, "aim": aim, "met": met}


def _json(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else {"median": spread.median, "min": spread.low, "max": spread.high}

"""What a run came to, and whether the aims were met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.common.report import print_aim, print_table
from bench.common.spread import Spread
from bench.policy.admission import Admission
from bench.policy.crowd import EQUAL, STREAMS, Flight, Overshoot
from bench.policy.hits import HitSample

HIT_RATIO = 1.2
ADMIT_US = 50.0
_HITS = ("exact hit, p50 at one connection", "hit ms", "routed ms", "ratio")
_ADMISSIONS = ("admission", "CPU us", "wall us", "settle CPU us", "round trips", "of settling", "step on the wire us")
_FLIGHTS = (f"{EQUAL} equal requests", "gateways", "upstream, each round", "x-kvgate-cache")
_OVERSHOOTS = (
    f"{STREAMS} streams at once",
    "gateways",
    "admitted, each wave",
    "budget USD",
    "spent",
    "overshoot",
    "reserved each",
    "reserved in flight",
)


@dataclass(frozen=True)
class Summary:
    """All measures of all backends."""

    hits: list[HitSample] = field(default_factory=list)
    admissions: list[Admission] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    overshoots: list[Overshoot] = field(default_factory=list)

    def print(self) -> None:
        rows = [[name, hit.text(3), routed.text(3), ratio.text(2)] for name, (hit, routed, ratio) in self._hits()]
        print_table(_HITS, rows)
        print()
        print_table(_ADMISSIONS, [_admission_row(each) for each in self.admissions])
        print()
        print_table(_FLIGHTS, [_flight_row(each) for each in self.flights])
        print()
        print_table(_OVERSHOOTS, [_overshoot_row(each) for each in self.overshoots])
        print("\nAims:")
        for aim in self.aims():
            print_aim(aim["what"], aim["measured"], aim["aim"], aim["met"])

    def aims(self) -> list[dict[str, Any]]:
        """In the order in which they were measured."""
        found = []
        for name, (_, _, ratio) in self._hits():
            what = f"exact hit over routed request, p50, {name}"
            found.append(_aim(what, ratio.text(2), f"<= {HIT_RATIO}", ratio.median <= HIT_RATIO))
        for each in self.admissions:
            if each.round_trips is None:
                what, used_us = "rate limit and budget in memory", max(each.cpu_us, each.wall_us)
                found.append(_aim(what, f"{used_us:.1f} us", f"< {ADMIT_US:.0f} us", used_us < ADMIT_US))
            else:
                what, met = "round trips to Redis per admission", round(each.round_trips, 3) == 1 == each.scripts
                found.append(_aim(what, f"{each.round_trips:.3f}", "1", met))
        for flight in self.flights:
            what, most = f"upstream requests of {EQUAL} equal ones, {flight.backend}", max(flight.upstream)
            found.append(_aim(what, str(most), "1", most == 1))
        for spend in self.overshoots:
            what = f"budget overshoot under {STREAMS} streams, {spend.backend}"
            measured, limit = f"{spend.overshoot_usd:.3f} USD", f"<= {spend.in_flight_usd:.2f} USD reserved"
            found.append(_aim(what, measured, limit, spend.overshoot_usd <= spend.in_flight_usd))
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "hits": [{**asdict(each), "ratio": each.ratio} for each in self.hits],
            "admissions": [each.as_json() for each in self.admissions],
            "flights": [asdict(each) for each in self.flights],
            "overshoots": [
                {**asdict(each), "overshoot_usd": each.overshoot_usd, "in_flight_usd": each.in_flight_usd}
                for each in self.overshoots
            ],
        }

    def _hits(self) -> list[tuple[str, tuple[Spread, Spread, Spread]]]:
        by_backend: dict[str, list[HitSample]] = {}
        for sample in self.hits:
            by_backend.setdefault(sample.backend, []).append(sample)
        return [
            (
                name,
                (
                    Spread.of([sample.hit_p50_ms for sample in samples]),
                    Spread.of([sample.routed_p50_ms for sample in samples]),
                    Spread.of([sample.ratio for sample in samples]),
                ),
            )
            for name, samples in by_backend.items()
        ]


def _admission_row(each: Admission) -> list[str]:
    row = [each.backend, f"{each.cpu_us:.1f}", f"{each.wall_us:.1f}", f"{each.settle_cpu_us:.1f}"]
    row += ["-" if value is None else f"{value:.3f}" for value in (each.round_trips, each.settle_round_trips)]
    return [*row, f"{each.wire_step_us:.1f}"]


def _flight_row(each: Flight) -> list[str]:
    caches = ", ".join(f"{count} {name}" for name, count in sorted(each.caches.items()))
    return [each.backend, str(each.instances), _join(each.upstream), caches]


def _overshoot_row(each: Overshoot) -> list[str]:
    money = (each.budget_usd, each.spent_usd, each.overshoot_usd, each.reserved_usd, each.in_flight_usd)
    return [each.backend, str(each.instances), _join(each.admitted), *(f"{usd:.3f}" for usd in money)]


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _aim(what: str, measured: str, aim: str, met: bool) -> dict[str, Any]:
    return {"what": what, "measured": measured, "aim": aim, "met": met}

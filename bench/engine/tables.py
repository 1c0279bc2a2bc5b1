"""A summary as Markdown: what clients measured, then what the engines counted."""

from __future__ import annotations

from collections.abc import Sequence

from bench.common.spread import Spread
from bench.engine.summary import Summary

_NONE = "-"
_NAN = float("nan")
_READ = "redis:total_net_output_bytes"


def tables(summary: Summary) -> str:
    """One table of clients' numbers and one of the engines', for each scenario."""
    parts: list[str] = []
    for scenario in summary.scenarios():
        parts.append(f"**{scenario}.** {summary.expected.get(scenario, '')}\n")
        parts.append(_table(*_clients(summary, scenario)))
        parts.append(_table(*_engines(summary, scenario)))
    return "\n".join(parts)


def ratio(summary: Summary, scenario: str, variant: str, value: str) -> Spread:
    """The baseline's value over the variant's, repeat by repeat: above 1, the variant's is the smaller one."""
    base = summary.of(scenario, summary.variants(scenario)[0])
    return Spread.of(
        [
            getattr(one.outcome, value) / getattr(other.outcome, value)
            for one, other in zip(base, summary.of(scenario, variant), strict=True)
        ]
    )


def _clients(summary: Summary, scenario: str) -> tuple[Sequence[str], list[list[str]]]:
    header = ["", "TTFT p50 ms", "p95 ms", "p99 ms", "first visit p50", "later p50", "req/s", "p95 is lower by"]
    rows = []
    for number, variant in enumerate(summary.variants(scenario)):
        fields = ("ttft_p50_ms", "ttft_p95_ms", "ttft_p99_ms", "first_visit_p50_ms", "later_visit_p50_ms")
        times = [_text(summary.spread(scenario, variant, field), 0) for field in fields]
        gain = _text(ratio(summary, scenario, variant, "ttft_p95_ms"), 2, "x") if number else _NONE
        rows.append([variant, *times, _text(summary.spread(scenario, variant, "requests_per_s"), 2), gain])
    return header, rows


def _engines(summary: Summary, scenario: str) -> tuple[Sequence[str], list[list[str]]]:
    header = ["counters of", "hit rate", "hits in LMCache", "read from Redis MB", "tokens computed", "preemptions"]
    rows = []
    for variant in summary.variants(scenario):
        shares = [_text(summary.spread(scenario, variant, f"{each}_hit_rate"), 3) for each in ("engine", "offload")]
        counts = [_text(summary.spread(scenario, variant, each), 0) for each in ("computed_tokens", "preemptions")]
        read = [cell.counted.get(_READ, _NAN) / 1e6 for cell in summary.of(scenario, variant)]
        placed = ["/".join(str(n) for n in cell.outcome.requests.values()) for cell in summary.of(scenario, variant)]
        rows.append([variant, *shares, _text(Spread.of(read), 1), *counts, "; ".join(placed)])
    return [*header, "requests by replica"], rows


def _text(spread: Spread, digits: int, unit: str = "") -> str:
    return _NONE if spread.median != spread.median else spread.text(digits).replace(",", "") + unit


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

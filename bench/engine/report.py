"""Writes the generated parts of docs/benchmark-report.md from the summaries in bench/results/engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from bench.engine.plots import draw
from bench.engine.summary import Summary, load
from bench.engine.tables import ratio, tables

_ROOT = Path(__file__).resolve().parents[2]
RESULTS = _ROOT / "bench" / "results" / "engine"
REPORT = _ROOT / "docs" / "benchmark-report.md"
IMAGES = _ROOT / "docs" / "images"


def write(take: Path | None) -> None:
    """Fills in the report; draws its plots.

    Args:
        take: a folder of fresh summaries that replace those of the same model.

    Raises:
        BenchFailed: there are no results, or the report has no place for them.
    """
    if take is not None:
        _take(take)
    paths = sorted(RESULTS.glob("*/*.json"))
    if not paths:
        raise BenchFailed(f"no results in {RESULTS}: run the experiments, then `report --take` their folder")
    summaries = [load(path) for path in paths]
    text = REPORT.read_text()
    for summary in summaries:
        draw(summary, IMAGES / summary.model)
    for name in ("affinity", "offload", "tiers", "chat"):
        text = filled(text, name, "\n".join(_section(each) for each in summaries if each.experiment == name))
    text = filled(text, "setup", "\n".join(map(_setup, _one_of_each_model(summaries))))
    text = filled(text, "published", comparison(summaries))
    REPORT.write_text(text)
    print(f"written: {REPORT}")


def filled(text: str, name: str, content: str) -> str:
    """The text with `content` between the markers of `name`.

    Raises:
        BenchFailed: there are no such markers.
    """
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise BenchFailed(f"the report has no {begin} ... {end}")
    return f"{head}{begin}\n{content.rstrip() or 'Not measured yet.'}\n{end}{tail}"


def comparison(summaries: Sequence[Summary]) -> str:
    """What was published for the first generation on GPUs, and the same quantity here."""
    lines = ["| experiment | published: baseline, then its result | gain | here | baseline, then ours | gain |"]
    lines.append("|---|---|---:|---|---|---:|")
    for (name, what, published, gain), measured in _PUBLISHED.items():
        lines += [
            f"| {what} | {published} | {gain} | {summary.model} | {row[0]} | {row[1]} |"
            for summary in summaries
            if summary.experiment == name and (row := measured(summary))
        ]
    return "\n".join(lines)


def _pair(scenario: int, variant: int, value: str, digits: int, *, higher: bool = False) -> Callable[[Summary], Any]:
    def measured(summary: Summary) -> tuple[str, str] | None:
        scenarios = summary.scenarios()
        if scenario >= len(scenarios) or variant >= len(summary.variants(scenarios[scenario])):
            return None
        place = scenarios[scenario]
        names = summary.variants(place)
        values = [summary.spread(place, names[each], value).median for each in (0, variant)]
        gained = ratio(summary, place, names[variant], value)
        gain = 1 / gained.median if higher else gained.median
        return ", ".join(f"{each:.{digits}f}" for each in values), f"{gain:.2f}x"

    return measured


_OFFLOAD = "LMCache CPU offload, TTFT p50 ms"
_TIER = "where KV lives: TTFT p50 ms"
_PUBLISHED: Mapping[tuple[str, str, str, str], Callable[[Summary], tuple[str, str] | None]] = {
    ("affinity", "routing, TTFT p50 ms", "568, 434", "1.31x"): _pair(0, 1, "ttft_p50_ms", 0),
    ("affinity", "routing, TTFT p95 ms", "2783, 1516", "1.84x"): _pair(0, 1, "ttft_p95_ms", 0),
    ("affinity", "routing, TTFT p99 ms", "3642, 2662", "1.37x"): _pair(0, 1, "ttft_p99_ms", 0),
    ("affinity", "routing, throughput", "-", "1.14x"): _pair(0, 1, "requests_per_s", 2, higher=True),
    ("offload", f"{_OFFLOAD}, wider cap", "855, 422", "2.03x"): _pair(0, 1, "ttft_p50_ms", 0),
    ("offload", f"{_OFFLOAD}, tighter cap", "1426, 902", "1.58x"): _pair(1, 1, "ttft_p50_ms", 0),
    ("offload", "the same, throughput", "-", "1.65x"): _pair(1, 1, "requests_per_s", 2, higher=True),
    ("tiers", f"{_TIER}, CPU", "1393, 249", "5.59x"): _pair(0, 1, "ttft_p50_ms", 0),
    ("tiers", f"{_TIER}, Redis", "1393, 1424", "0.98x"): _pair(0, 2, "ttft_p50_ms", 0),
    ("tiers", "CPU, requests/s", "1.11, 2.33", "2.10x"): _pair(0, 1, "requests_per_s", 2, higher=True),
    ("tiers", "Redis, requests/s", "1.11, 1.08", "0.97x"): _pair(0, 2, "requests_per_s", 2, higher=True),
}


def _section(summary: Summary) -> str:
    plot = f"images/{summary.model}/engine-{summary.experiment}.svg"
    repeats = len({cell.seed for cell in summary.cells})
    return (
        f"### {summary.title}: {summary.model}\n\n{repeats} repeats: median (least..greatest).\n\n"
        f"{tables(summary)}\n![TTFT of {summary.title}]({plot})\n"
    )


def _setup(summary: Summary) -> str:
    description = summary.description
    machine, versions = description["machine"], description["versions"]
    shown = ("vllm", "lmcache", "torch", "kvgate", "envoy", "redis", "python", "gpu")
    said = ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
    return (
        f"- **{summary.model}**: {machine['cores']} x {machine['cpu']}, Linux {machine['kernel']}; {said}; "
        f"taken {description['taken_at']} at commit {description['commit'][:12]}, "
        f"seed {description['settings']['seed']} and up; load before: {machine['load_average_at_start'][0]}."
    )


def _one_of_each_model(summaries: Sequence[Summary]) -> list[Summary]:
    return list({summary.model: summary for summary in summaries}.values())


def _take(folder: Path) -> None:
    found = sorted(folder.glob("*.json"))
    if not found:
        raise BenchFailed(f"no summaries in {folder}")
    for path in found:
        place = RESULTS / load(path).model
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name)

"""`python -m bench.policy.semantic`."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import machine
from bench.common.errors import BenchFailed
from bench.common.report import OUT, print_aim, print_table, write_json
from extproc.caching.semantic import (
    Embedder,
    HashingEmbedder,
    NotInstalled,
    OpenAICompatibleEmbedder,
    SemanticSettings,
    SentenceTransformersEmbedder,
)

from . import run
from .generate import generated
from .pairs import Pair, read
from .run import Outcome, Tally

ENTRIES = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark: 0 whether or not the aims were met."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        pairs = read(arguments.pairs) if arguments.pairs else generated()
        return asyncio.run(_measure(arguments, pairs))
    except BenchFailed as failed:
        print(failed, file=sys.stderr)
        return 1


async def _measure(arguments: argparse.Namespace, pairs: list[Pair]) -> int:
    description = machine.describe()
    print(machine.summary(description))
    settings = SemanticSettings(threshold=arguments.threshold, max_error_rate=arguments.max_error_rate)
    reports = []
    for embedder in _embedders(arguments):
        if await embedder.embed("a first text") is None:
            raise BenchFailed(f"{embedder.name} gives no vectors")
        reports.append(await _report(embedder, settings, pairs, arguments))
        await embedder.close()
    aims = [
        {
            "what": f"false hits, {report['embedder']}",
            "measured": str(report["false_hits"]),
            "aim": "0",
            "met": report["false_hits"] == 0,
        }
        for report in reports
    ]
    print("\nAims:")
    for aim in aims:
        print_aim(aim["what"], aim["measured"], aim["aim"], aim["met"])
    stated = {"threshold": settings.threshold, "max_error_rate": settings.max_error_rate, "rounds": arguments.rounds}
    document = {"benchmark": "semantic", **description, "settings": stated, "aims": aims, "embedders": reports}
    write_json(arguments.json, document)
    return 0


async def _report(
    embedder: Embedder, settings: SemanticSettings, pairs: list[Pair], arguments: argparse.Namespace
) -> dict[str, Any]:
    outcomes = await run.asked_once(embedder, settings, pairs)
    together = await run.asked_together(embedder, settings, pairs)
    learned, learned_wrong = await run.asked_often(embedder, settings, pairs, arguments.rounds)
    times = await run.look_up_us(embedder, ENTRIES, arguments.calls)
    categories = {name: _tally(outcomes, name) for name in dict.fromkeys(each.pair.category for each in outcomes)}
    true, false = _all(outcomes, True), _all(outcomes, False)
    print(f"\n{embedder.name}")
    rows = [(name, *_cells(miss), *_cells(same)) for name, (miss, same) in categories.items()]
    rows += [("asked once, all", *_cells(false), *_cells(true))]
    rows += [(f"asked {arguments.rounds} times", *_cells(learned_wrong), *_cells(learned))]
    print_table(("category", "near misses", "false hits", "paraphrases", "hits"), rows)
    print(f"near misses asked in one cache with all others: {together} false hits")
    cuts = statistics.quantiles(times, n=100)
    print(f"look-up among {ENTRIES:,} entries: {statistics.median(times):,.0f} us, p99 {cuts[98]:,.0f} us")
    if arguments.show:
        for each in outcomes:
            if each.hit != each.pair.same_answer:
                kind = "FALSE" if each.hit else "missed"
                print(f"  {kind} {each.pair.category}: {_last(each.pair.first)!r} | {_last(each.pair.second)!r}")
    return {
        "embedder": embedder.name,
        "near_misses": false.pairs,
        "false_hits": false.hits + together + learned_wrong.hits,
        "false_hits_asked_once": false.hits,
        "false_hits_in_one_cache": together,
        "false_hits_learned": learned_wrong.hits,
        "paraphrases": true.pairs,
        "paraphrase_hit_rate": true.rate,
        "paraphrase_hit_rate_learned": learned.rate,
        "look_up_us": {"entries": ENTRIES, "median": statistics.median(times), "p99": cuts[98]},
        "categories": {
            name: {"near_misses": miss.pairs, "false_hits": miss.hits, "paraphrases": same.pairs, "hits": same.hits}
            for name, (miss, same) in categories.items()
        },
    }


def _embedders(arguments: argparse.Namespace) -> list[Embedder]:
    found: list[Embedder] = [HashingEmbedder()]
    if arguments.openai:
        found.append(OpenAICompatibleEmbedder(arguments.openai, arguments.openai_model, timeout_s=10))
    if arguments.sentence_transformers:
        try:
            found.append(SentenceTransformersEmbedder(arguments.sentence_transformers))
        except NotInstalled as missing:
            raise BenchFailed(str(missing)) from None
    return found


def _tally(outcomes: list[Outcome], category: str) -> tuple[Tally, Tally]:
    chosen = [each for each in outcomes if each.pair.category == category]
    return _all(chosen, False), _all(chosen, True)


def _all(outcomes: list[Outcome], same_answer: bool) -> Tally:
    chosen = [each for each in outcomes if each.pair.same_answer is same_answer]
    return Tally(len(chosen), sum(each.hit for each in chosen))


def _cells(tally: Tally) -> tuple[str, str]:
    return (f"{tally.pairs:,}", f"{tally.hits:,} ({tally.rate:.0%})") if tally.pairs else ("", "")


def _last(request: dict[str, Any]) -> object:
    return request["messages"][-1]["content"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.policy.semantic",
        description="False hits and true hits of the semantic cache on pairs of requests.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--json", type=Path, default=OUT / "semantic.json", metavar="OUT")
    parser.add_argument("--pairs", type=Path, metavar="FILE.jsonl", help="{first, second, same_answer} a line")
    parser.add_argument("--threshold", type=float, default=SemanticSettings().threshold)
    parser.add_argument("--max-error-rate", type=float, default=SemanticSettings().max_error_rate)
    parser.add_argument("--rounds", type=int, default=100, help="how often a family of pairs is asked, to learn")
    parser.add_argument("--calls", type=int, default=500, help="look-ups that are timed")
    parser.add_argument("--openai", metavar="URL", help="an API with /v1/embeddings to measure, too")
    parser.add_argument("--openai-model", default="all-MiniLM-L6-v2", metavar="NAME")
    parser.add_argument("--sentence-transformers", metavar="MODEL", help="a local model to measure, too")
    parser.add_argument("--show", action="store_true", help="print the pairs that went wrong")
    return parser


if __name__ == "__main__":
    sys.exit(main())

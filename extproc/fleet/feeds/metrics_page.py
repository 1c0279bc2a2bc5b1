"""An engine's /metrics page -> how busy it is and how much its KV cache holds.

A vLLM page is a hundred kilobytes of histograms around the few lines that matter, and the processor reads hundreds of
pages a second: so it is searched for those names (`config/engines.py`) and only their lines are parsed.

Engines with data-parallel ranks give a line for each rank. Asked for all, requests and capacity add up over ranks; the
share in use is their mean, since ranks are of one size. Several lines of one rank (SGLang's tensor- and
pipeline-parallel ranks, lines written twice) speak of the same requests, and the largest counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extproc.config.engines import ENGINES, MetricNames
from extproc.fleet.feeds.exposition import Sample, samples

_LARGEST = 2**53
_ROUNDING = 1e-6
_WHOLE = re.compile(r"([0-9]{1,15})(\.0*)?")


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What a page says; None where it does not.

    Args:
        engine: "vllm", "sglang" or "tgi"; None if the page is of no engine known here.
        running: requests in the batch.
        waiting: requests queued before their prefill.
        kv_usage: share of KV blocks in use by requests, 0 to 1.
        kv_tokens: size of the KV cache; where no rank was asked for, of all of them together.
        block_size: tokens in a KV block.
        unreadable: how many of these cannot be parsed or cannot be true, or are missing though every engine gives them.
            One is None even if some ranks make sense: their sum would pass for that of all.
    """

    engine: str | None = None
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    kv_tokens: int | None = None
    block_size: int | None = None
    unreadable: int = 0


def read(page: bytes | str, rank: int | None = None, ranks: int = 1) -> EngineReport:
    """What a page says. Never raises: whatever a replica sends is at worst an empty report.

    Args:
        rank: the data-parallel rank of which it is to be read; None: of all.
        ranks: how many there are.
    """
    data = page.encode(errors="replace") if isinstance(page, str) else page
    for kind, engine in ENGINES.items():
        if engine.metrics is not None:
            report = _Reading(data, kind, engine.metrics, rank, ranks).report()
            if report is not None:
                return report
    return EngineReport()


class _Reading:
    """One page, read with one engine's names."""

    def __init__(self, page: bytes, engine: str, names: MetricNames, rank: int | None, ranks: int) -> None:
        self._page = page
        self._engine = engine
        self._names = names
        self._rank = None if rank is None else str(rank)
        self._ranks = ranks
        self._unreadable = 0

    def report(self) -> EngineReport | None:
        """None if the page is not of this engine."""
        names = self._names
        running, waiting = self._by_rank([names.running], _count), self._by_rank([names.waiting], _count)
        if not (running or waiting or self._unreadable):
            return None
        self._unreadable = max(self._unreadable, (not running) + (not waiting))
        usage = self._by_rank(names.kv_usage, _share)
        kv_tokens, block_size = self._capacity()
        return EngineReport(
            engine=self._engine,
            running=int(sum(running)) if running else None,
            waiting=int(sum(waiting)) if waiting else None,
            kv_usage=sum(usage) / len(usage) if usage else None,
            kv_tokens=kv_tokens,
            block_size=block_size,
            unreadable=self._unreadable,
        )

    def _by_rank(self, synonyms: Iterable[bytes], checked: Callable[[float], float]) -> list[float]:
        """A metric's value for every rank; empty if it is absent or any line of it makes no sense."""
        for name in synonyms:
            ranks: dict[tuple[str, str], float] = {}
            try:
                for sample in self._samples(name):
                    if sample.labels.get("priority"):
                        continue  # one priority's share of an SGLang queue: the line without a priority has the sum
                    rank = sample.labels.get("model_name", ""), sample.labels.get(self._names.rank, "")
                    ranks[rank] = max(ranks.get(rank, 0.0), checked(sample.value))
            except ValueError:
                self._unreadable += 1
                return []
            if ranks:
                return list(ranks.values())
        return []

    def _samples(self, name: bytes) -> Iterable[Sample]:
        """A metric's lines, of the rank that was asked for."""
        found, label = samples(self._page, name), self._names.rank
        return found if self._rank is None else (each for each in found if each.labels.get(label) == self._rank)

    def _capacity(self) -> tuple[int | None, int | None]:
        """Tokens in the KV cache, and in a block of it."""
        kv_tokens, block_size = self._labelled()
        tokens, sizes = self._by_rank(self._names.kv_tokens, _count), self._by_rank(self._names.block_size, _count)
        return int(sum(tokens)) or kv_tokens, int(max(sizes, default=0)) or block_size

    def _labelled(self) -> tuple[int | None, int | None]:
        """The same two, as the labels of the engine's info metric have them."""
        info = self._names.info
        if info is None:
            return None, None
        kv_tokens: dict[str, int] = {}
        kv_blocks = block_size = 0
        try:
            for sample in self._samples(info.metric):
                labels, rank = sample.labels, sample.labels.get(self._names.rank, "")
                kv_tokens[rank] = max(kv_tokens.get(rank, 0), _whole(labels.get(info.kv_tokens)))
                kv_blocks = max(kv_blocks, _whole(labels.get(info.kv_blocks)))
                block_size = max(block_size, _whole(labels.get(info.block_size)))
            every_rank_says = all(kv_tokens.values())
            blocks = kv_blocks if self._rank is None else kv_blocks // self._ranks
            tokens = _count(sum(kv_tokens.values()) if every_rank_says else blocks * block_size)
        except ValueError:
            self._unreadable += 1
            return None, None
        return int(tokens) or None, block_size or None


def _count(value: float) -> float:
    if not (0 <= value < _LARGEST and value == int(value)):
        raise ValueError(value)
    return value


def _share(value: float) -> float:
    if math.isnan(value) or not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise ValueError(value)
    return min(1.0, max(0.0, value))


def _whole(label: str | None) -> int:
    """A label's number; 0 if it is absent or an unset Python value."""
    if label in (None, "", "None"):
        return 0
    number = _WHOLE.fullmatch(label or "")
    if number is None:
        raise ValueError(label)
    return int(number[1])

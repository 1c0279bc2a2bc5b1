"""Turns -> how well they kept to their replica, how even the load was, what was cached, how fast it began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.affinity.talk import Turn
from bench.affinity.workload import Variant
from bench.common.report import print_aim, print_table
from bench.common.spread import Spread, percentile

REPEATS_SHARE = 0.9
IMBALANCE = 0.2
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one variant.

    Args:
        repeats_on_first: share of the turns after the first that reached the replica of the first.
        requests: by replica.
        imbalance: busiest replica over the mean, minus 1.
        range_over_mean: (busiest - idlest) / mean.
        hit_share: cached over prompt tokens, as the engines counted.
        predicted_over_cached: tokens that the gateway expected to be cached over those that were.
        failures: requests without an answer; each also ends its conversation.
    """

    repeats_on_first: float
    requests: dict[str, int]
    imbalance: float
    range_over_mean: float
    hit_share: float
    predicted_over_cached: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    ttft_p99_ms: float
    ttft_first_turn_p50_ms: float
    ttft_repeat_p50_ms: float
    failures: int

    @classmethod
    def of(cls, turns: Sequence[Turn], replicas: Collection[str]) -> Outcome:
        answered = [turn for turn in turns if not turn.failure]
        first = {turn.conversation: turn.replica for turn in answered if turn.turn == 0}
        repeats = [turn for turn in answered if turn.turn > 0]
        kept = sum(turn.replica == first[turn.conversation] for turn in repeats)
        counted = Counter(turn.replica for turn in answered)
        requests = {name: counted[name] for name in sorted({*replicas, *counted})}
        mean = sum(requests.values()) / len(requests)
        cached = sum(turn.cached_tokens for turn in answered)
        prompt = sum(turn.prompt_tokens for turn in answered)
        ttft_ms = [turn.ttft_s * 1000 for turn in answered]
        return cls(
            repeats_on_first=kept / len(repeats) if repeats else _NAN,
            requests=requests,
            imbalance=max(requests.values()) / mean - 1 if mean else _NAN,
            range_over_mean=(max(requests.values()) - min(requests.values())) / mean if mean else _NAN,
            hit_share=cached / prompt if prompt else _NAN,
            predicted_over_cached=sum(turn.predicted_tokens for turn in answered) / cached if cached else _NAN,
            ttft_p50_ms=percentile(ttft_ms, 0.50),
            ttft_p95_ms=percentile(ttft_ms, 0.95),
            ttft_p99_ms=percentile(ttft_ms, 0.99),
            ttft_first_turn_p50_ms=percentile([turn.ttft_s * 1000 for turn in answered if not turn.turn], 0.50),
            ttft_repeat_p50_ms=percentile([turn.ttft_s * 1000 for turn in repeats], 0.50),
            failures=len(turns) - len(answered),
        )


class Summary:
    """Outcomes of every variant, several repeats of each."""

    def __init__(self) -> None:
        self.outcomes: dict[Variant, list[Outcome]] = {}

    def add(self, variant: Variant, outcome: Outcome) -> None:
        self.outcomes.setdefault(variant, []).append(outcome)

    def spread(self, variant: Variant, value: str) -> Spread:
        return Spread.of([getattr(outcome, value) for outcome in self.outcomes[variant]])

    def print(self) -> None:
        placed = ("variant", "strategy", "repeats on first", "requests by replica", "max/mean-1", "(max-min)/mean")
        print_table((*placed, "failures"), [self._placement(variant) for variant in self.outcomes])
        print()
        timed = ("variant", "strategy", "engine hit share", "predicted/cached", "TTFT p50 ms", "p95 ms", "p99 ms")
        rows = [self._speed(variant) for variant in self.outcomes]
        print_table((*timed, "first turn p50 ms", "repeat p50 ms"), rows)
        print("\nMedian (min..max) over repeats. Hits are the engines' own count.\n\nAims:")
        for aim in self.aims():
            print_aim(aim["what"], aim["measured"], aim["aim"], aim["met"])

    def aims(self) -> list[dict[str, Any]]:
        """For all but the baseline; the median decides."""
        found = []
        for variant in self.outcomes:
            if variant.strategy == "round_robin":
                continue
            kept, uneven = self.spread(variant, "repeats_on_first"), self.spread(variant, "imbalance")
            name = f"{variant.name} ({variant.strategy})"
            found.append(_aim(f"{name}: repeats on first", kept, f">= {REPEATS_SHARE}", kept.median >= REPEATS_SHARE))
            found.append(_aim(f"{name}: max/mean-1", uneven, f"<= {IMBALANCE}", uneven.median <= IMBALANCE + 1e-9))
        return found

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {**asdict(variant), "repeats": [asdict(outcome) for outcome in outcomes]}
            for variant, outcomes in self.outcomes.items()
        ]

    def _placement(self, variant: Variant) -> list[str]:
        outcomes = self.outcomes[variant]
        requests = "; ".join("/".join(str(count) for count in outcome.requests.values()) for outcome in outcomes)
        kept, uneven, over = (
            self.spread(variant, value).text() for value in ("repeats_on_first", "imbalance", "range_over_mean")
        )
        failures = str(sum(outcome.failures for outcome in outcomes))
        return [variant.name, variant.strategy, kept, requests, uneven, over, failures]

    def _speed(self, variant: Variant) -> list[str]:
        shares = [self.spread(variant, value).text() for value in ("hit_share", "predicted_over_cached")]
        times = ("ttft_p50_ms", "ttft_p95_ms", "ttft_p99_ms", "ttft_first_turn_p50_ms", "ttft_repeat_p50_ms")
        return [variant.name, variant.strategy, *shares, *(self.spread(variant, value).text(0) for value in times)]


def _aim(what: str, measured: Spread, aim: str, met: bool) -> dict[str, Any]:
    return {"what": what, "measured": measured.text(), "aim": aim, "met": met}

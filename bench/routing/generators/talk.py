"""Conversations: each prompt is the whole history, and each turn comes when the answer before it has been read."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.routing.request import BenchRequest, Workload
from bench.routing.segments import Segment, request

_FIRST_TOKEN_S = 1.0  # what an answer is reckoned to take, to place the next turn; the run itself decides
_ANSWER_TOKENS_PER_S = 50.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What is added to the history, how long the answer is, and the pause before it."""

    asks: tuple[Segment, ...]
    answer_tokens: int
    think_s: float = 0.0


def talk(
    name: str, start_s: float, opening: Sequence[Segment], turns: Iterable[Turn], *, block_size: int
) -> list[BenchRequest]:
    """The requests of one conversation.

    A turn comes at its nominal time, or later if the answer before it was late: the load hardly depends on the policy,
    and nobody answers what has not been said yet.
    """
    requests: list[BenchRequest] = []
    history = list(opening)
    at_s = start_s
    for number, turn in enumerate(turns):
        if requests:
            at_s += _FIRST_TOKEN_S + requests[-1].output_tokens / _ANSWER_TOKENS_PER_S + turn.think_s
        history += turn.asks
        answer = Segment("text", f"{name}/answer {number}", turn.answer_tokens)
        after = requests[-1].id if requests else None
        requests.append(
            request(
                f"{name}/{number}",
                at_s,
                history,
                answer,
                block_size=block_size,
                session=name,
                after=after,
                think_s=turn.think_s if requests else 0.0,
            )
        )
        history.append(answer)
    return requests


def in_order(name: str, requests: Iterable[BenchRequest], block_size: int) -> Workload:
    """A workload sorted by arrival."""
    return Workload(name, tuple(sorted(requests, key=lambda each: (each.arrival_s, each.id))), block_size)


def starts(dice: random.Random, count: int, within_s: float) -> list[float]:
    """Poisson arrivals, given their number: uniform times, sorted."""
    return sorted(dice.uniform(0.0, within_s) for _ in range(count))


def skewed(dice: random.Random, low: int, high: int) -> int:
    """A length between two bounds, log-uniform: short ones are common, long ones happen."""
    return round(low * math.pow(high / low, dice.random()))


def zipf(dice: random.Random, count: int, exponent: float = 1.0) -> int:
    """A number below `count`; the first ones are the popular ones."""
    weights = [1.0 / (rank + 1) ** exponent for rank in range(count)]
    return dice.choices(range(count), weights)[0]

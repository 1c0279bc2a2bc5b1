"""One request's progress inside the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from extproc.sim.requests import BlocksStored, Request


class Sequence:
    """A request, how much of it is computed, and the KV blocks it holds.

    `known` tokens exist (prompt and what was generated), `computed` of them have their KV in `blocks`, and the first
    `stored` blocks are findable by hash.
    """

    __slots__ = ("alive", "blocks", "cached_tokens", "chain", "computed", "generated", "known", "request", "stored")

    def __init__(self, request: Request, block_size: int) -> None:
        full = request.prompt_tokens // block_size
        chain = list(islice(request.block_hashes, full))
        if len(chain) == full:
            chain.extend(request.output_block_hashes)
        self.request = request
        self.chain = chain
        self.blocks: list[int] = []
        self.known = request.prompt_tokens
        self.computed = 0
        self.generated = 0
        self.stored = 0
        self.cached_tokens: int | None = None
        self.alive = True

    @property
    def remaining(self) -> int:
        """Tokens still to be generated."""
        return self.request.max_tokens - self.generated

    @property
    def decoding(self) -> bool:
        """Whether the next step computes just the token that the last one generated."""
        return self.generated > 0 and self.known - self.computed == 1

    def restart(self) -> None:
        """Forget the KV (it was taken away), keep the tokens: they are computed again."""
        self.blocks = []
        self.computed = 0
        self.stored = 0

    def stored_event(self, first: int, last: int, block_size: int) -> BlocksStored:
        """What to tell about blocks `first` (included) to `last` (excluded)."""
        request = self.request
        return BlocksStored(
            block_hashes=tuple(self.chain[first:last]),
            parent_hash=self.chain[first - 1] if first else None,
            token_ids=request.token_ids[first * block_size : last * block_size],
            extra_keys=request.extra_keys[first:last],
            lora_name=request.lora_name,
        )


@dataclass(slots=True)
class Step:
    """A step under way. `repeats` counts identical decode steps that run as one; only an arrival cuts them short."""

    scheduled: list[tuple[Sequence, int]]
    started_s: float
    step_s: float
    repeats: int

    @property
    def duration_s(self) -> float:
        return self.step_s * self.repeats

    def cut(self, now: float) -> None:
        """End with the repeat that is running at `now`."""
        if self.repeats > 1 and self.step_s:
            # The tolerance keeps an arrival exactly between two repeats out of the later one.
            begun = math.ceil((now - self.started_s) / self.step_s - 1e-9)
            self.repeats = max(1, min(self.repeats, begun))

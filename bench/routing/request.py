"""One request of a workload, as the gateway sees it and as the engine does."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.prefix import Chain


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """A prompt, when it comes, and how long its answer is.

    Args:
        id: unique in its workload.
        arrival_s: when it comes, from the start of the run; for a request with `after`, no sooner than this.
        chain: as the gateway would fingerprint the prompt.
        prompt_tokens: tokens of the prompt.
        output_tokens: tokens of the answer; no policy sees it.
        block_hashes: the prompt as the engine hashes it, one a full block.
        output_block_hashes: of the blocks that the answer completes.
        session: the conversation or user it belongs to, where the workload says so.
        media_blocks: which blocks of `chain` are images, by position.
        after: id of the request that must have ended first (a turn answers the one before it).
        think_s: from the end of `after` until this one can come.
    """

    id: str
    arrival_s: float
    chain: Chain
    prompt_tokens: int
    output_tokens: int
    block_hashes: tuple[int, ...]
    output_block_hashes: tuple[int, ...] = ()
    session: str | None = None
    media_blocks: tuple[int, ...] = ()
    after: str | None = None
    think_s: float = 0.0

    @property
    def first_block(self) -> int:
        """The first block of the prompt; a prompt without a full one has a key of its own length."""
        return self.chain.hashes[0] if self.chain.hashes else self.prompt_tokens

    @property
    def total_tokens(self) -> int:
        """What it occupies in an engine's cache when it ends."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in order of arrival.

    Args:
        block_size: tokens of an engine block in `block_hashes`.
        concurrency: requests under way at a time; the next in order is sent when one ends, and arrival times do not
            count. None: each comes at its time.
    """

    name: str
    requests: tuple[BenchRequest, ...]
    block_size: int
    concurrency: int | None = None

    @property
    def last_arrival_s(self) -> float:
        return self.requests[-1].arrival_s if self.requests else 0.0

"""A model of vLLM v1's engine core: scheduler, KV cache and the time a step takes. No I/O, no clock, no randomness.

Whoever drives it owns time::

    engine.submit(request)
    while (duration_s := engine.begin_step(now)) is not None:
        now += duration_s
        for output in engine.finish_step(now):
            ...

A step computes one token for each running request that decodes, then prompt chunks in arrival order, within the token
budget. What is cached of a prompt is skipped, but for its last token. KV blocks are taken as tokens are computed; where
none are left, waiting requests wait and the youngest running one gives its blocks back and starts over. With a host
tier, what the GPU evicts is kept there, and a prompt that continues there is restored, at the start of its first step.
So it is from a remote store, into which engines write what they have computed of a request when it ends.

With ``fuse=True`` many decode steps run as one until something changes: a virtual clock then pays per event, not per
token. An arrival or an abort that changes the batch shortens the fused step, so `step_ends_s` must be read again after
`submit` and `abort`.
"""

from __future__ import annotations

from collections import deque

from extproc.sim.cache import BlockCache
from extproc.sim.requests import BlocksRemoved, CacheCleared, EngineStats, KvEvent, Prompt, Request, StepOutput
from extproc.sim.sequence import Sequence, Step
from extproc.sim.settings import EngineSettings
from extproc.sim.store import BlockStore, Hashes


class Engine:
    """One engine; every time it is given is in seconds on the driver's clock.

    Args:
        cache: blocks that it shares with other engines, an idealisation; by default it has `kv_blocks` of its own.
        remote: the store behind it, which other engines may share; by default there is none.
    """

    def __init__(
        self, settings: EngineSettings, cache: BlockCache | None = None, remote: BlockStore | None = None
    ) -> None:
        self.settings = settings
        self._cache = BlockCache(settings.kv_blocks, host_blocks=settings.host_blocks) if cache is None else cache
        self._cache.evicted_hashes = [] if settings.record_events else None
        self._remote = remote or BlockStore(0)
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._by_id: dict[str, Sequence] = {}
        self._step: Step | None = None
        self._refused: tuple[Sequence, int] | None = None
        self._events: list[KvEvent] = []
        self._restored_tokens = self._remote_tokens = 0
        self._prefix_queries = 0
        self._prefix_hits = 0
        self._preemptions = 0
        self._prompt_tokens = 0
        self._generation_tokens = 0

    @property
    def cache(self) -> BlockCache:
        return self._cache

    @property
    def busy(self) -> bool:
        """Whether any request is running or waiting."""
        return bool(self._by_id)

    @property
    def step_ends_s(self) -> float | None:
        """When the step under way ends; None between steps."""
        return None if self._step is None else self._step.started_s + self._step.duration_s

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            running=len(self._running),
            waiting=len(self._waiting),
            kv_usage=self._cache.usage,
            prefix_queries=self._prefix_queries,
            prefix_hits=self._prefix_hits,
            evicted_blocks=self._cache.evictions,
            preemptions=self._preemptions,
            prompt_tokens=self._prompt_tokens,
            generation_tokens=self._generation_tokens,
        )

    def cached_prefix_tokens(self, prompt: Prompt) -> int:
        """Tokens of `prompt` that are cached now, on the GPU or behind it, as a request would be charged for them."""
        limit = (prompt.prompt_tokens - 1) // self.settings.block_size
        hit = len(self._cache.longest_prefix(prompt.block_hashes, limit))
        return (hit + sum(self._behind(prompt.block_hashes, hit, limit))) * self.settings.block_size

    def submit(self, request: Request) -> None:
        """Queue a request, at its `arrival_s`.

        Raises:
            ValueError: it could never fit in the cache, is empty, or its id is in use.
        """
        if request.id in self._by_id:
            raise ValueError(f"request id in use: {request.id}")
        if request.prompt_tokens < 1:
            raise ValueError("a prompt has at least one token")
        if request.prompt_tokens + request.max_tokens > self.settings.kv_tokens:
            raise ValueError(
                f"{request.prompt_tokens} prompt and {request.max_tokens} output tokens "
                f"do not fit in a cache of {self.settings.kv_tokens}"
            )
        if self._step and not self._waiting and len(self._running) < self.settings.max_num_seqs:
            self._step.cut(request.arrival_s)
        sequence = Sequence(request, self.settings.block_size)
        self._by_id[request.id] = sequence
        self._waiting.append(sequence)

    def abort(self, request_id: str, now: float) -> bool:
        """Forget a request and free its blocks; False if it is not here (any more)."""
        sequence = self._by_id.get(request_id)
        if sequence is None:
            return False
        if sequence in self._running:
            self._running.remove(sequence)
            if self._step:
                self._step.cut(now)
        else:
            self._waiting.remove(sequence)
        self._forget(sequence)
        return True

    def reset_prefix_cache(self) -> bool:
        """Drop all cached content; refused (False) while any request holds blocks."""
        cleared = self._cache.clear()
        if cleared and self.settings.record_events:
            self._events.append(CacheCleared())
        return cleared

    def take_events(self) -> list[KvEvent]:
        """What happened to the cache since the last call, in order; empty unless `record_events` is set."""
        events, self._events = self._events, []
        return events

    def begin_step(self, now: float, *, fuse: bool = False) -> float | None:
        """Schedule a step that starts at `now`.

        Args:
            fuse: run decode steps that would all be alike as one.

        Returns:
            Seconds the step takes, or None when there is nothing to do.
        """
        assert self._step is None, "finish_step comes first"
        budget = self.settings.max_num_batched_tokens
        scheduled: list[tuple[Sequence, int]] = []
        self._restored_tokens = self._remote_tokens = 0
        budget, preempted = self._schedule_running(scheduled, budget)
        decodes = sum(1 for sequence, _ in scheduled if sequence.decoding)
        if not preempted:
            budget = self._admit_waiting(scheduled, budget)
        if not scheduled:
            return None
        prefill_tokens = self.settings.max_num_batched_tokens - budget - decodes
        step_s = self.settings.step_s(prefill_tokens, decodes, self._restored_tokens, self._remote_tokens)
        self._step = Step(scheduled, now, step_s, repeats=1)
        # After a preemption the next step may admit again, so it may differ from this one.
        if not prefill_tokens and not preempted and (fuse or not step_s):
            self._step.repeats = self._alike_decodes(scheduled)
        return self._step.duration_s

    def finish_step(self, now: float) -> list[StepOutput]:
        """End the step under way and say what it did for each request.

        `now` is when the driver got here; a driver that is late changes nothing.
        """
        step, self._step = self._step, None
        assert step is not None, "begin_step comes first"
        outputs: list[StepOutput] = []
        finished: list[Sequence] = []
        for sequence, count in step.scheduled:
            if not sequence.alive:
                continue
            sequence.computed += count
            if sequence.computed < sequence.known:
                continue
            if step.repeats > 1:
                self._compute_ahead(sequence, step.repeats - 1)
            outputs.append(self._emit(sequence, step.repeats))
            if sequence.generated >= sequence.request.max_tokens:
                finished.append(sequence)
        for sequence in finished:
            self._forget(sequence)
        if finished:
            self._running = [sequence for sequence in self._running if sequence.alive]
        return outputs

    def _schedule_running(self, scheduled: list[tuple[Sequence, int]], budget: int) -> tuple[int, bool]:
        block_size = self.settings.block_size
        running = self._running
        preemptions = self._preemptions
        index = 0
        while index < len(running) and budget:
            sequence = running[index]
            count = min(sequence.known - sequence.computed, budget)
            end = sequence.computed + count
            if end > len(sequence.blocks) * block_size and not self._grow_or_preempt(sequence, end):
                break
            if end // block_size > sequence.stored:
                self._store_full_blocks(sequence, end)
            scheduled.append((sequence, count))
            budget -= count
            index += 1
        return budget, self._preemptions > preemptions

    def _admit_waiting(self, scheduled: list[tuple[Sequence, int]], budget: int) -> int:
        block_size = self.settings.block_size
        while self._waiting and budget and len(self._running) < self.settings.max_num_seqs:
            sequence = self._waiting[0]
            if self._refused == (sequence, self._cache.version):
                break
            hit = self._hit(sequence)
            # The whole prompt must fit, not just its first chunk (vLLM's scheduler_reserve_full_isl).
            if self._blocks_for(sequence.known) - len(hit) > self._cache.free_after(hit):
                self._refused = (sequence, self._cache.version)
                break
            self._waiting.popleft()
            self._running.append(sequence)
            self._start(sequence, hit)
            count = min(sequence.known - sequence.computed, budget)
            end = sequence.computed + count
            self._grow(sequence, end)
            if end // block_size > sequence.stored:
                self._store_full_blocks(sequence, end)
            scheduled.append((sequence, count))
            budget -= count
        return budget

    def _start(self, sequence: Sequence, hit: list[int]) -> None:
        self._cache.acquire(hit)
        sequence.blocks = hit
        sequence.stored = len(hit)
        self._restore(sequence)
        sequence.computed = sequence.stored * self.settings.block_size
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.computed
            self._prefix_queries += sequence.known
            self._prefix_hits += sequence.computed

    def _restore(self, sequence: Sequence) -> None:
        """Bring back what follows the hit in the host tier, and what follows that in the remote store."""
        hit, block_size = sequence.stored, self.settings.block_size
        host, remote = self._behind(sequence.chain, hit, self._reusable_blocks(sequence))
        if host or remote:
            middle, end = hit + host, hit + host + remote
            self._cache.host.use(sequence.chain[hit:middle])
            self._remote.use(sequence.chain[middle:end])
            self._grow(sequence, end * block_size)
            self._store_full_blocks(sequence, end * block_size)
            self._restored_tokens += host * block_size
            self._remote_tokens += remote * block_size

    def _hit(self, sequence: Sequence) -> list[int]:
        return self._cache.longest_prefix(sequence.chain, self._reusable_blocks(sequence))

    def _behind(self, hashes: Hashes, hit: int, limit: int) -> tuple[int, int]:
        """Blocks in the host tier that continue a hit of so many, and in the remote store, that continue those."""
        host = self._cache.host.prefix(hashes, hit, limit)
        return host, self._remote.prefix(hashes, hit + host, limit)

    def _reusable_blocks(self, sequence: Sequence) -> int:
        # The last token is computed in any case: its logits are what the first output token is sampled from.
        return (sequence.known - 1) // self.settings.block_size

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.settings.block_size)

    def _grow_or_preempt(self, sequence: Sequence, end: int) -> bool:
        """Give the sequence room for `end` tokens, from younger ones if need be; False if it lost its own instead."""
        while self._blocks_for(end) - len(sequence.blocks) > self._cache.growth:
            youngest = self._running.pop()
            self._cache.release(reversed(youngest.blocks))
            youngest.restart()
            self._waiting.appendleft(youngest)
            self._preemptions += 1
            if youngest is sequence:
                return False
        self._grow(sequence, end)
        return True

    def _grow(self, sequence: Sequence, end: int) -> None:
        sequence.blocks += self._cache.allocate(self._blocks_for(end) - len(sequence.blocks))
        if self._cache.evicted_hashes:
            self._events.append(BlocksRemoved(tuple(self._cache.evicted_hashes)))
            self._cache.evicted_hashes.clear()

    def _store_full_blocks(self, sequence: Sequence, end: int) -> None:
        first, last = sequence.stored, min(end // self.settings.block_size, len(sequence.chain))
        if first >= last:
            return
        for index in range(first, last):
            self._cache.store(sequence.blocks[index], sequence.chain[index])
        sequence.stored = last
        if self.settings.record_events:
            self._events.append(sequence.stored_event(first, last, self.settings.block_size))

    def _alike_decodes(self, scheduled: list[tuple[Sequence, int]]) -> int:
        """How many steps like this one follow each other for sure: until a request ends or memory might run out."""
        to_first_end = min(sequence.remaining for sequence, _ in scheduled)
        to_full_cache = self._cache.free // len(scheduled) * self.settings.block_size
        return max(1, min(to_first_end, to_full_cache))

    def _compute_ahead(self, sequence: Sequence, count: int) -> None:
        """The further tokens of a fused step: their room was made sure of when it began."""
        sequence.computed += count
        self._grow(sequence, sequence.computed)
        self._store_full_blocks(sequence, sequence.computed)

    def _emit(self, sequence: Sequence, count: int) -> StepOutput:
        request = sequence.request
        first = sequence.generated == 0
        new_tokens = min(count, sequence.remaining)
        sequence.generated += new_tokens
        sequence.known += new_tokens
        self._generation_tokens += new_tokens
        if first:
            self._prompt_tokens += request.prompt_tokens
        return StepOutput(
            request.id, new_tokens, first, sequence.generated >= request.max_tokens, sequence.cached_tokens or 0
        )

    def _forget(self, sequence: Sequence) -> None:
        # Tail first into the free queue: what many prompts share is at the head of a chain and outlives what follows.
        self._cache.release(reversed(sequence.blocks))
        self._remote.keep(reversed(sequence.chain[: sequence.stored]))
        sequence.blocks = []
        sequence.alive = False
        del self._by_id[sequence.request.id]

"""Look-ups, insertions and memory."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.common.spread import percentile
from bench.index.states import FILLED_BLOCKS, REPLICAS, State, chain, conversations, filled_prompts
from extproc.fleet.index import CacheIndex
from extproc.prefix import Chain

_INSERTED_BLOCKS = 100
_MEMORY_BLOCKS = 40_000
_FURTHER_TOKENS = 300

Make = Callable[[int], CacheIndex]


@dataclass(frozen=True, slots=True)
class Timing:
    """Many calls of one kind.

    Args:
        blocks: of each call's prompt.
        per_s: blocks a second, over all calls.
    """

    case: str
    what: str
    blocks: int
    calls: int
    median_us: float
    p99_us: float
    per_s: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lookups(make: Make, calls: int) -> Iterator[Timing]:
    """In each state, `match` (the tokens that each replica has) and `look_up` (what sharers would gain, too)."""
    yield from _look_up("a", "all hold all of it", State(make).same_prompt(), calls)
    yield from _look_up("b", "each holds another part", State(make).leading_parts(), calls)
    yield from _look_up("c", "as b, in a filled index", State(make).leading_parts(filled_prompts()).filled(), calls)
    yield from _look_up("d", "200 turns, each forked", State(make).forked(200), calls)
    yield from _look_up("d2", "every block forked", State(make).forked(2000), calls)


def insertions(make: Make, calls: int) -> Iterator[Timing]:
    """`store`, and what a request does, with every replica full: each new block evicts one."""
    index = State(make, max_blocks=FILLED_BLOCKS).filled().index
    generator = random.Random(1)

    def prompts(kind: str) -> list[tuple[str, Chain]]:
        numbers = range(calls)
        return [(generator.choice(REPLICAS), chain(kind, number, blocks=_INSERTED_BLOCKS)) for number in numbers]

    def request(replica: str, prompt: Chain) -> None:
        index.claim(replica, prompt)
        index.store(replica, prompt, time.monotonic(), _FURTHER_TOKENS)
        index.release(replica, prompt)

    fresh = prompts("fresh")
    yield _insert("e", "store, fresh", index.store, fresh)
    yield _insert("f", "store, warm", index.store, fresh[-calls // 2 :] * 2)
    yield _insert("g", "claim, store, release, fresh", request, prompts("request"))


def bytes_per_block(make: Make) -> dict[str, float]:
    """Memory a held block: of conversations, where others hold the same, and at worst: prompts of a single block."""
    gc.collect()
    tracemalloc.start()
    index = make(1 << 30)
    for replica in REPLICAS:
        index.add(replica)

    def grown(replicas: list[str], prompts: Callable[[], Iterator[Chain]], blocks: int) -> float:
        before, held = tracemalloc.get_traced_memory()[0], sum(map(index.held_blocks, REPLICAS))
        for replica in replicas:
            most = index.held_blocks(replica) + blocks
            for number, prompt in enumerate(prompts()):
                index.store(replica, prompt, number / 7, _FURTHER_TOKENS)
                if index.held_blocks(replica) >= most:
                    break
        gc.collect()
        new_blocks = sum(map(index.held_blocks, REPLICAS)) - held
        return (tracemalloc.get_traced_memory()[0] - before) / new_blocks

    found = {
        "conversations": grown(REPLICAS[:1], lambda: conversations(0), _MEMORY_BLOCKS),
        "the same, held by another replica": grown(REPLICAS[1:9], lambda: conversations(0), _MEMORY_BLOCKS),
        "prompts of 100 blocks": grown(REPLICAS[9:10], lambda: _apart(_INSERTED_BLOCKS), _MEMORY_BLOCKS),
        "prompts of one block": grown(REPLICAS[10:11], lambda: _apart(1), _MEMORY_BLOCKS),
    }
    tracemalloc.stop()
    return found


def _apart(blocks: int) -> Iterator[Chain]:
    """Prompts that share nothing. Without end."""
    return (chain("apart", blocks, number, blocks=blocks) for number in range(1 << 62))


def _look_up(case: str, what: str, state: State, calls: int) -> Iterator[Timing]:
    generator = random.Random(0)
    index, prompts = state.index, [generator.choice(state.prompts) for _ in range(calls)]
    for name, call in ((case, index.match), (f"{case}, with sharers", index.look_up)):
        for prompt in prompts[:100]:
            call(prompt)
        yield _timing(name, what, [(_us(call, prompt), len(prompt)) for prompt in prompts])


def _insert(case: str, what: str, call: Callable[[str, Chain], None], prompts: list[tuple[str, Chain]]) -> Timing:
    return _timing(case, what, [(_us(call, replica, prompt), len(prompt)) for replica, prompt in prompts])


def _us(call: Callable[..., object], *arguments: object) -> float:
    start_ns = time.perf_counter_ns()
    call(*arguments)
    return (time.perf_counter_ns() - start_ns) / 1000


def _timing(case: str, what: str, samples: list[tuple[float, int]]) -> Timing:
    took_us = [us for us, _ in samples]
    blocks = sum(blocks for _, blocks in samples)
    return Timing(
        case=case,
        what=what,
        blocks=blocks // len(samples),
        calls=len(samples),
        median_us=percentile(took_us, 0.5),
        p99_us=percentile(took_us, 0.99),
        per_s=blocks / sum(took_us) * 1e6,
    )

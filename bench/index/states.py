"""What the index holds when it is measured. Chosen before anything was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xxhash import xxh3_64_intdigest

from extproc.fleet.index import CacheIndex
from extproc.prefix import Chain

REPLICAS = [f"r{number}" for number in range(64)]
PROMPT_BLOCKS = 2_000
BLOCK_TOKENS = 64
FILLED_BLOCKS = 20_000  # per replica, of other people's conversations
_VIRAL_PROMPTS = 50
_SYSTEM_PROMPTS = 50
_SYSTEM_BLOCKS = 16
_TURN_BLOCKS = 12
_TURNS = 8


def chain(*content: object, blocks: int, after: Chain | None = None) -> Chain:
    """A chain of text blocks that depends on `content` and what it comes after."""
    hashes = list(after.hashes) if after else []
    link = xxh3_64_intdigest(repr(content).encode(), hashes[-1] if hashes else 0)
    for _ in range(blocks):
        hashes.append(link)
        link = xxh3_64_intdigest(b"block", link)
    return Chain(tuple(hashes), (BLOCK_TOKENS,) * len(hashes), BLOCK_TOKENS * len(hashes))


def cut(prompt: Chain, blocks: int) -> Chain:
    """Its leading part."""
    return Chain(prompt.hashes[:blocks], prompt.weights[:blocks], BLOCK_TOKENS * blocks)


def conversations(seed: int) -> Iterator[Chain]:
    """What a replica is asked to hold, call after call: turns of conversations, some of which fork. Without end."""
    generator = random.Random(seed)
    for number in range(1 << 62):
        prompt = chain("system", generator.randrange(_SYSTEM_PROMPTS), blocks=_SYSTEM_BLOCKS)
        for turn in range(_TURNS):
            if generator.random() < 0.2:
                yield chain("fork", seed, number, turn, blocks=_TURN_BLOCKS, after=prompt)
            prompt = chain(seed, number, turn, blocks=generator.randint(1, 2 * _TURN_BLOCKS - 1), after=prompt)
            yield prompt


@dataclass
class State:
    """An index and the prompts that are looked up in it.

    Args:
        make: builds an empty index with a bound of so many blocks per replica.
    """

    make: Callable[[int], CacheIndex] = CacheIndex
    max_blocks: int = 200_000
    index: CacheIndex = field(init=False)
    prompts: list[Chain] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.index = self.make(self.max_blocks)
        for replica in REPLICAS:
            self.index.add(replica)

    def same_prompt(self) -> State:
        """Every replica holds all of one prompt."""
        self.prompts = [chain("prompt", blocks=PROMPT_BLOCKS)]
        for replica in REPLICAS:
            self.index.store(replica, self.prompts[0])
        return self

    def leading_parts(self, prompts: int = 1) -> State:
        """Every replica holds another share of each prompt: 1/64 of it, 2/64, ..."""
        self.prompts = [chain("prompt", number, blocks=PROMPT_BLOCKS) for number in range(prompts)]
        for prompt in self.prompts:
            for number, replica in enumerate(REPLICAS, 1):
                self.index.store(replica, cut(prompt, PROMPT_BLOCKS * number // len(REPLICAS)))
        return self

    def filled(self) -> State:
        """Every replica is busy with conversations of its own."""
        for number, replica in enumerate(REPLICAS):
            others = conversations(number)
            before = self.index.held_blocks(replica)
            while self.index.held_blocks(replica) < min(before + FILLED_BLOCKS, self.max_blocks):
                self.index.store(replica, next(others))
        return self

    def forked(self, turns: int) -> State:
        """One conversation, stored turn by turn on one replica; after each turn another replica tried another one."""
        prompt = Chain()
        for turn in range(turns):
            prompt = chain(turn, blocks=PROMPT_BLOCKS // turns, after=prompt)
            self.index.store(REPLICAS[0], prompt)
            self.index.store(REPLICAS[1 + turn % (len(REPLICAS) - 1)], chain("fork", turn, blocks=1, after=prompt))
        self.prompts = [prompt]
        return self


def filled_prompts() -> int:
    """Distinct long prompts that are looked up in a filled index, so that they are not in the processor's caches."""
    return _VIRAL_PROMPTS

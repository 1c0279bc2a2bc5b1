"""Everything one simulated replica is made of, wired together; HTTP is an edge around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from extproc.clock import Clock
from extproc.sim.blocks import chain, extra_keys
from extproc.sim.engine import Engine
from extproc.sim.errors import bad_request, unknown_model
from extproc.sim.faults import Faults
from extproc.sim.journal import Journal
from extproc.sim.kv_events import Publisher
from extproc.sim.media import MediaReader
from extproc.sim.rank import Rank
from extproc.sim.requests import Request
from extproc.sim.settings import SimSettings
from extproc.sim.template import Prompt
from extproc.sim.tokens import tokenize, write


class Replica:
    """One replica's state: its ranks, faults and journal.

    Args:
        publishers: of the KV events of each rank, if they are published.
    """

    def __init__(self, settings: SimSettings, clock: Clock, publishers: Sequence[Publisher], faults: Faults) -> None:
        self.settings = settings
        self.clock = clock
        self.faults = faults
        self.ranks = tuple(
            Rank(number, settings, clock, publishers[number] if publishers else None)
            for number in range(settings.data_parallel_size)
        )
        self.journal = Journal(settings.recent_requests)
        self.media = MediaReader(settings.models[0], {})
        self._ids = count()

    @property
    def engine(self) -> Engine:
        """Of the first rank."""
        return self.ranks[0].engine

    def rank_of(self, header: str | None) -> Rank:
        """The rank that a request names, the least busy one where it names none.

        Raises:
            Refused: it is no rank (400). What is no number names none, as in vLLM.
        """
        number = None
        if header is not None:
            with suppress(ValueError):
                number = int(header)
        if number is None:
            return min(self.ranks, key=lambda rank: rank.load)
        if not 0 <= number < len(self.ranks):
            raise bad_request(f"data_parallel_rank {number} is out of range [0, {len(self.ranks)}).")
        return self.ranks[number]

    def model_of(self, body_model: object) -> str:
        """The model a body asks for, the first one where it names none.

        Raises:
            Refused: it is not served here (404).
        """
        if body_model is None or body_model == "":
            return self.settings.models[0]
        if body_model in self.settings.models or body_model in self.settings.loras:
            return str(body_model)
        raise unknown_model(str(body_model))

    def output_tokens(self, prompt: Prompt, asked: int | None) -> int:
        """How long the reply to a prompt will be.

        Raises:
            Refused: prompt and reply do not fit in the context (400).
        """
        context, length = self.settings.context_tokens, len(prompt.token_ids)
        room = context - length
        wanted = self.settings.default_output_tokens if asked is None else asked
        if room < max(1, wanted) and (asked is not None or room < 1):
            raise bad_request(
                f"This model's maximum context length is {context} tokens. However, you requested {wanted} output "
                f"tokens and your prompt contains {length} input tokens. Please reduce the length of the input prompt "
                "or the number of requested output tokens.",
                "input_tokens",
            )
        return min(wanted, room)

    def sequence(
        self, prompt: Prompt, choice: int, max_tokens: int, lora_name: str | None, cache_salt: str | None
    ) -> tuple[Request, list[str]]:
        """What the engine computes for one choice, and the text it will have generated."""
        block_size = self.settings.engine.block_size
        pieces = write(prompt.token_ids, choice, max_tokens)
        token_ids = prompt.token_ids + [tokenize(piece)[0] for piece in pieces]
        extras = extra_keys(len(token_ids) // block_size, block_size, prompt.media, lora_name, cache_salt)
        hashes = chain(token_ids, block_size, extras)
        prompt_blocks = len(prompt.token_ids) // block_size
        request = Request(
            id=str(next(self._ids)),
            prompt_tokens=len(prompt.token_ids),
            block_hashes=hashes[:prompt_blocks],
            output_block_hashes=hashes[prompt_blocks:],
            max_tokens=max_tokens,
            arrival_s=self.clock.now(),
            token_ids=token_ids,
            extra_keys=extras,
            lora_name=lora_name,
        )
        return request, pieces

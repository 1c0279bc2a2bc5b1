"""Everything one simulated replica is made of, wired together; HTTP is an edge around it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from extproc.clock import Clock
from extproc.sim.blocks import chain, extra_keys
from extproc.sim.engine import Engine
from extproc.sim.engine_loop import EngineLoop
from extproc.sim.errors import bad_request, unknown_model
from extproc.sim.faults import Faults
from extproc.sim.journal import Journal
from extproc.sim.kv_events import Publisher
from extproc.sim.media import MediaReader
from extproc.sim.metrics import Metrics
from extproc.sim.requests import Request
from extproc.sim.settings import SimSettings
from extproc.sim.template import Prompt
from extproc.sim.tokens import tokenize, write


class Replica:
    """One replica's state: engine, faults, journal and metrics."""

    def __init__(self, settings: SimSettings, clock: Clock, publisher: Publisher | None, faults: Faults) -> None:
        self.settings = settings
        self.clock = clock
        self.publisher = publisher
        self.faults = faults
        self.engine = Engine(replace(settings.engine, record_events=publisher is not None))
        self.loop = EngineLoop(self.engine, clock, publisher.publish if publisher else None)
        self.journal = Journal(settings.recent_requests)
        self.metrics = Metrics(settings.models[0], settings.engine)
        self.media = MediaReader(settings.models[0], {})
        self._ids = count()

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

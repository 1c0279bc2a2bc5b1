"""The step that makes a prompt's tokens, in precise mode: what engines report of their caches is known by tokens."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from extproc.fleet.state import Fleet
from extproc.prefix.chain import chain_of_tokens
from extproc.prefix.exact import ExactPrompt, Inexact

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange

EXACT = "exact"


class Tokenise:
    """Request -> the tokens that the engine will see. Where they cannot be known, or from there on, what is cached is
    inferred; that is counted.

    Attributes:
        outcomes: requests by model and what came of it: `exact`, or the value of an `Inexact`.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.outcomes: Counter[tuple[str, str]] = Counter()

    async def __call__(self, exchange: Exchange) -> None:
        directory, model = exchange.directory, exchange.model
        if directory.routing.prefix_index != "precise":
            return
        found = self._prompt(exchange)
        if isinstance(found, Inexact):
            self.outcomes[model.name, found.value] += 1
            return
        exchange.prompt = found
        self.outcomes[model.name, found.cut_by.value if found.cut_by else EXACT] += 1
        if found.complete and not exchange.request.batch:
            block_size = self._block_size(exchange) or directory.routing.prefix_kv_aware.block_size
            exchange.chain = chain_of_tokens(found, block_size, model.cache_identity, exchange.chain.content)

    def _prompt(self, exchange: Exchange) -> ExactPrompt | Inexact:
        tokenized = exchange.directory.tokenized.get(exchange.model.name)
        if tokenized is None:
            return Inexact.NO_TOKENIZER
        from extproc.prefix.tokenizer.exactly import fingerprint_exactly  # loaded with the first model, if any

        request, identities = exchange.request, exchange.identities
        exchange.client_uuids.learn(request, exchange.caller.tenant, tokenized.engine_model, identities)
        return fingerprint_exactly(
            request,
            tokenized,
            self._fleet.blocks.runs,
            lora=exchange.model.lora,
            identities=identities,
            engine_uuid=exchange.engine_uuid,
        )

    def _block_size(self, exchange: Exchange) -> int | None:
        """Of the engines that serve the model; replicas of one model rarely differ."""
        options = exchange.directory.options[exchange.model.name]
        sizes = (self._fleet.blocks.block_size(option.name) for option in options)
        return next(filter(None, sizes), None)

"""An exchange -> the story of it that goes along to the request log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extproc.api.errors import Unauthorized
from extproc.metering.story import Story

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange


def tell(exchange: Exchange) -> str:
    """What is known of it by now, packed."""
    if exchange.refusal is None and exchange.cache in ("miss", "bypass"):
        return _routed(exchange)
    return _answered(exchange)


def _routed(exchange: Exchange) -> str:
    request, caller, target = exchange.request, exchange.caller, exchange.target
    ranking, prompt_tokens = exchange.ranking, exchange.chain.prompt_tokens
    best = ranking.best
    return Story(
        exchange.endpoint.value,
        caller.tenant,
        caller.key,
        exchange.model.name,
        target.upstream_model,
        target.providers.get(best.name, ""),
        request.stream,
        exchange.cache,
        "",
        best.name,
        ranking.reason,
        prompt_tokens,
        best.matched_tokens,
        best.restored_tokens,
        round(best.ttft_s(prompt_tokens), 6),
        round(best.wait_s, 6),
        round(exchange.spent_s, 6),
    ).pack()


def _answered(exchange: Exchange) -> str:
    """By the gateway itself. Steps that were not taken have left nothing."""
    refusal = exchange.refusal
    nobody = isinstance(refusal, Unauthorized)
    endpoint = getattr(exchange, "endpoint", None)
    request = getattr(exchange, "request", None)
    model = getattr(exchange, "model", None)
    chain = getattr(exchange, "chain", None)
    return Story(
        endpoint=endpoint.value if endpoint is not None else "",
        tenant="" if nobody else exchange.caller.tenant,
        key="" if nobody else exchange.caller.key,
        model=model.name if model is not None else "",
        stream=request.stream if request is not None else None,
        cache=exchange.cache,
        code=(refusal.code or refusal.type) if refusal is not None else "",
        prompt_tokens=chain.prompt_tokens if chain is not None else None,
        gateway_s=round(exchange.spent_s, 6),
    ).pack()

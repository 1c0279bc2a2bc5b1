"""The steps that an inference request takes, in order; `pipeline.py` lists them.

A step reads what earlier steps left on the exchange and adds its own part. It refuses a request by raising a
`GatewayError`, and answers it by returning a reply.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from extproc.api.body import parse
from extproc.api.cache_identity import tenant_salt, with_engine_uuids, with_salt
from extproc.api.errors import ModelNotAllowed, ModelNotFound, NoReplica
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.api.rewrite import set_field
from extproc.clock import Clock
from extproc.config.topology import Pool, Replica, Target
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Directory
from extproc.gateway.wire import Destination
from extproc.prefix import Shape, fingerprint
from extproc.routing import Demand, Ranking, assess

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange

log = logging.getLogger(__name__)

_MAX_ENDPOINTS = 8  # what Envoy may try before it asks the pool's own policy; it retries three times
_ASKED_FOR_USAGE = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS})
"""Streams of the other endpoints tell their usage unasked."""
_SALTED = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS, Endpoint.RESPONSES})
"""Endpoints of vLLM that take a cache salt."""


class Step(Protocol):
    """One step of the request path."""

    async def __call__(self, exchange: Exchange) -> bytes | None:
        """Takes the step. The answer to Envoy if the request ends here, None if it goes on."""
        ...


class Understand:
    """Body -> request and model."""

    async def __call__(self, exchange: Exchange) -> None:
        request = parse(exchange.endpoint, exchange.body)
        model = exchange.directory.topology.models.get(request.model)
        if model is None:
            raise ModelNotFound(request.model)
        if not exchange.caller.may_ask(model.name):
            raise ModelNotAllowed(model.name)
        if _salts(exchange.directory, request) and any(each.pool.engine.cache_salt for each in model.targets):
            request = replace(request, cache_salt=tenant_salt(exchange.caller.tenant, request.cache_salt))
        exchange.request, exchange.model = request, model


class Fingerprint:
    """Request -> chain of block hashes."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def __call__(self, exchange: Exchange) -> None:
        model = exchange.model
        shape = Shape(
            model=model.cache_identity,
            block_size=exchange.directory.routing.prefix_kv_aware.block_size,
            bytes_per_token=model.bytes_per_token,
            image_rule=model.image_tokens,
            correction=self._fleet.correction(model.name),
        )
        exchange.chain = fingerprint(exchange.request, shape, exchange.identities)


class Route:
    """Chain and fleet state -> ranking and destination."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        directory, chain, model = exchange.directory, exchange.chain, exchange.model
        options, now_s = directory.options[model.name], self._clock.now()
        candidates = assess(self._fleet, chain, options, now_s, model.name, exchange.prompt)
        if not candidates:
            raise NoReplica(f"No replica of {model.name!r} is available.")
        demand = Demand(chain.prompt_tokens, exchange.session or exchange.request.user or "")
        ranking = directory.strategy.rank(demand, candidates)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("request %s: %s", exchange.request_id, ranking.explain())
        target, replica = directory.find(model, ranking.best.name, ranking.best.pool)
        exchange.ranking, exchange.target = ranking, target
        exchange.destination = _destination(exchange, target, replica)


def hides_usage(request: InferenceRequest) -> bool:
    """Whether the engine is asked for the usage of a stream whose client did not: it is what the gateway learns and
    bills from. `envoy/reply.lua` keeps the event from the client."""
    return request.stream and not request.stream_usage and request.endpoint in _ASKED_FOR_USAGE


def _destination(exchange: Exchange, target: Target, replica: Replica) -> Destination:
    pool = target.pool
    return Destination(
        cluster=replica.cluster or pool.name,
        endpoints=() if replica.cluster else _endpoints(exchange, exchange.ranking, pool, replica.rank_suffix),
        path=pool.path_prefix + exchange.path if pool.path_prefix else None,
        authorization=f"Bearer {pool.api_key}" if pool.api_key else None,
        body=_body(exchange, target),
        rank=replica.rank,
    )


def _body(exchange: Exchange, target: Target) -> bytes | None:
    """What the replica gets, if that is not what the client sent."""
    request, body = exchange.request, exchange.body
    changed = False
    if target.upstream_model != request.model:
        body, changed = set_field(body, "model", target.upstream_model, present=True), True
    if hides_usage(request):
        options: Any = request.fields.get("stream_options")
        asked = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        asked.pop("continuous_usage_stats", None)  # which would then be in every event
        body, changed = set_field(body, "stream_options", asked), True
    if _salts(exchange.directory, request) and target.pool.engine.cache_salt:
        body, changed = with_salt(body, request.cache_salt or ""), True
    named = with_engine_uuids(body, request, exchange.engine_uuid)
    return named if changed or named is not body else None


def _salts(directory: Directory, request: InferenceRequest) -> bool:
    """Whether the KV blocks of the request's tenant are to be kept apart from those of others, where engines can."""
    return directory.routing.cache_salt_per_tenant and request.endpoint in _SALTED


def _endpoints(exchange: Exchange, ranking: Ranking, pool: Pool, rank_suffix: str) -> tuple[str, ...]:
    """Addresses of the pool's replicas in the order of the ranking.

    A retry sends the same headers, and so to the same rank: of ranks, only those of the chosen number follow.
    """
    known = exchange.directory.endpoints
    candidates = (score.candidate for score in ranking.scores)
    names = (each.name for each in candidates if each.pool == pool.name and each.name.endswith(rank_suffix))
    return tuple(known[name] for name, _ in zip(names, range(_MAX_ENDPOINTS), strict=False))

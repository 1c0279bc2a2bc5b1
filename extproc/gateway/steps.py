"""The steps that an inference request takes, in order: understand, fingerprint, route.

A step reads what earlier steps left on the exchange and adds its own part. It refuses a request by raising a
`GatewayError`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from extproc.api.body import parse
from extproc.api.errors import ModelNotFound, NoReplica
from extproc.api.rewrite import replace_model
from extproc.clock import Clock
from extproc.config.topology import Pool, Replica, Target
from extproc.fleet.state import Fleet
from extproc.gateway.wire import Destination
from extproc.prefix import Shape, fingerprint
from extproc.routing import Demand, Ranking, assess

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange

log = logging.getLogger(__name__)

_MAX_ENDPOINTS = 8  # what Envoy may try before it asks the pool's own policy; it retries three times


class Step(Protocol):
    """One step of the request path."""

    async def __call__(self, exchange: Exchange) -> None: ...


class Understand:
    """Body -> request and model."""

    async def __call__(self, exchange: Exchange) -> None:
        request = parse(exchange.endpoint, exchange.body)
        model = exchange.directory.topology.models.get(request.model)
        if model is None:
            raise ModelNotFound(request.model)
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
        exchange.chain = fingerprint(exchange.request, shape)


class Route:
    """Chain and fleet state -> ranking and destination."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        directory, chain, model = exchange.directory, exchange.chain, exchange.model
        candidates = assess(self._fleet, chain, directory.options[model.name], self._clock.now(), model.name)
        if not candidates:
            raise NoReplica(f"No replica of {model.name!r} is available.")
        demand = Demand(chain.prompt_tokens, exchange.session or exchange.request.user or "")
        ranking = directory.strategy.rank(demand, candidates)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("request %s: %s", exchange.request_id, ranking.explain())
        target, replica = directory.find(model, ranking.best.name, ranking.best.pool)
        exchange.ranking, exchange.target = ranking, target
        exchange.destination = _destination(exchange, target, replica)


def _destination(exchange: Exchange, target: Target, replica: Replica) -> Destination:
    pool = target.pool
    renamed = target.upstream_model != exchange.request.model
    return Destination(
        cluster=replica.cluster or pool.name,
        endpoints=() if replica.cluster else _endpoints(exchange, exchange.ranking, pool),
        path=pool.path_prefix + exchange.path if pool.path_prefix else None,
        authorization=f"Bearer {pool.api_key}" if pool.api_key else None,
        body=replace_model(exchange.body, target.upstream_model) if renamed else None,
    )


def _endpoints(exchange: Exchange, ranking: Ranking, pool: Pool) -> tuple[str, ...]:
    """Addresses of the pool's replicas in the order of the ranking."""
    known = exchange.directory.endpoints
    names = (score.candidate.name for score in ranking.scores if score.candidate.pool == pool.name)
    return tuple(known[name] for name, _ in zip(names, range(_MAX_ENDPOINTS), strict=False))

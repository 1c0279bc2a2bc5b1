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
from extproc.config.topology import Model, Pool, Replica, Target
from extproc.fleet.state import Fleet
from extproc.gateway.wire import Destination
from extproc.prefix import Shape, fingerprint
from extproc.routing import Candidate, Ranking

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

    async def __call__(self, exchange: Exchange) -> None:
        model = exchange.model
        shape = Shape(
            model=model.cache_identity,
            block_size=exchange.directory.routing.prefix_kv_aware.block_size,
            bytes_per_token=model.bytes_per_token,
            image_rule=model.image_tokens,
        )
        exchange.chain = fingerprint(exchange.request, shape)


class Route:
    """Chain and fleet state -> ranking and destination."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def __call__(self, exchange: Exchange) -> None:
        directory = exchange.directory
        candidates = self._candidates(exchange)
        if not candidates:
            raise NoReplica(f"No replica of {exchange.model.name!r} is available.")
        ranking = directory.strategy.rank(exchange.chain.prompt_tokens, candidates)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("request %s: %s", exchange.request_id, ranking.explain())
        exchange.ranking = ranking
        exchange.destination = _destination(exchange, ranking)

    def _candidates(self, exchange: Exchange) -> list[Candidate]:
        """Replicas that may serve; those that are not proven only if there is nobody else."""
        fleet, addresses = self._fleet, exchange.directory.addresses
        matched = fleet.index.match(exchange.chain)
        ready: list[Candidate] = []
        aside: list[Candidate] = []
        for target in exchange.model.targets:
            for replica in target.pool.replicas:
                name = replica.name
                state = fleet.replicas.get(name)
                if state is None or state.draining or name not in addresses:
                    continue
                candidate = Candidate(
                    state=state,
                    pool=target.pool.name,
                    weight=replica.weight,
                    matched_tokens=matched.get(name, 0),
                    held_tokens=fleet.index.tokens(name),
                )
                (ready if state.proven else aside).append(candidate)
        return ready or aside


def _destination(exchange: Exchange, ranking: Ranking) -> Destination:
    target, replica = _lookup(exchange.model, ranking.best)
    pool = target.pool
    renamed = target.upstream_model != exchange.request.model
    return Destination(
        cluster=replica.cluster or pool.name,
        endpoints=() if replica.cluster else _endpoints(exchange, ranking, pool),
        path=pool.path_prefix + exchange.path if pool.path_prefix else None,
        authorization=f"Bearer {pool.api_key}" if pool.api_key else None,
        body=replace_model(exchange.body, target.upstream_model) if renamed else None,
    )


def _endpoints(exchange: Exchange, ranking: Ranking, pool: Pool) -> tuple[str, ...]:
    """Addresses of the pool's replicas in the order of the ranking."""
    known = exchange.directory.endpoints
    names = (score.candidate.name for score in ranking.scores if score.candidate.pool == pool.name)
    return tuple(known[name] for name, _ in zip(names, range(_MAX_ENDPOINTS), strict=False))


def _lookup(model: Model, best: Candidate) -> tuple[Target, Replica]:
    for target in model.targets:
        if target.pool.name == best.pool:
            for replica in target.pool.replicas:
                if replica.name == best.name:
                    return target, replica
    raise LookupError(f"{best.name} is not in pool {best.pool}")

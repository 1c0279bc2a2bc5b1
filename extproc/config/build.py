"""Settings -> Topology: which replicas there are, and which of them can stand in for each other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from . import settings as configured
from .addresses import Origin, origins_of
from .engines import Engine
from .errors import ConfigError, Problem
from .kv_feeds import kv_feeds_of
from .providers import Provider
from .ranks import ranks_of
from .settings import Settings
from .tiers import host_tiers_of, remote_tier_of
from .topology import FALLBACK_CLUSTER, Model, Pool, Replica, Target, Topology

_RESERVED_PREFIX = "kvgate-"
"""Clusters of the gateway's own begin so."""


@dataclass(frozen=True, slots=True)
class _Kinship:
    """What deployments must share for Envoy to retry on any of their replicas with the same request."""

    upstream_model: str
    tls: bool
    path_prefix: str
    api_key: str | None
    health_path: str
    engine: Engine
    ranks: int
    cost_per_1k_input: float
    cost_per_1k_output: float
    cost_per_1k_cached_input: float


@dataclass(slots=True)
class _Group:
    """The replicas of one model that are kin."""

    replicas: dict[str, Replica] = field(default_factory=dict)
    providers: set[str] = field(default_factory=set)
    provider_of: dict[str, str] = field(default_factory=dict)  # by replica; the one listed first

    def add(self, provider: str, replica: Replica, weight: float) -> None:
        known = self.replicas.get(replica.name)
        total = replica.weight * weight + (known.weight if known else 0.0)
        self.replicas[replica.name] = replace(replica, weight=total)
        self.providers.add(provider)
        self.provider_of.setdefault(replica.name, provider)


def build(settings: Settings) -> Topology:
    """The topology of valid settings.

    A replica's weight in a pool is its own times that of its deployment, so weights compare across all pools of a
    model and `Target.weight` stays 1.

    Raises:
        ConfigError: no models, URLs that cannot be used, or names, tiers, KV events or ranks that contradict each
            other.
    """
    if not settings.models:
        raise ConfigError([Problem(("models",), "no models are configured")])
    origins = targets_of(settings)
    naming = _PoolNames({origin.replica.cluster for group in origins.values() for origin in group})
    pools: dict[Pool, Pool] = {}
    models = {model.name: _model(model, settings, origins, pools, naming) for model in settings.models}
    return Topology(
        models=models,
        pools={pool.name: pool for pool in pools.values()},
        default_pool=models[settings.models[0].name].targets[0].pool.name,
    )


def targets_of(settings: Settings) -> dict[str, tuple[Origin, ...]]:
    """What each provider offers to be routed to, by its name: replicas, and ranks of those that have several.

    Raises:
        ConfigError: see `build`.
    """
    return _with_ranks(_with_kv_feeds(_with_tiers(origins_of(settings), settings), settings), settings)


def _with_ranks(origins: dict[str, tuple[Origin, ...]], settings: Settings) -> dict[str, tuple[Origin, ...]]:
    ranks = ranks_of(settings)

    def split(origin: Origin) -> list[Origin]:
        size, replica = ranks[origin.replica.host, origin.replica.port], origin.replica
        if size == 1:
            return [origin]
        return [replace(origin, replica=replica.of_rank(rank), ranks=size) for rank in range(size)]

    return {provider: tuple(each for origin in group for each in split(origin)) for provider, group in origins.items()}


def _with_tiers(origins: dict[str, tuple[Origin, ...]], settings: Settings) -> dict[str, tuple[Origin, ...]]:
    hosts, remote = host_tiers_of(settings), remote_tier_of(settings)

    def with_tiers(origin: Origin) -> Origin:
        replica = origin.replica
        address = replica.host, replica.port
        backed = replace(replica, host_tier=hosts.get(address), remote_cache_tokens=remote.get(address))
        return replace(origin, replica=backed)

    return {provider: tuple(map(with_tiers, group)) for provider, group in origins.items()}


def _with_kv_feeds(origins: dict[str, tuple[Origin, ...]], settings: Settings) -> dict[str, tuple[Origin, ...]]:
    feeds = kv_feeds_of(settings)

    def with_feed(origin: Origin) -> Origin:
        feed = feeds.get((origin.replica.host, origin.replica.port))
        return replace(origin, replica=replace(origin.replica, kv_feed=feed)) if feed else origin

    return {provider: tuple(map(with_feed, group)) for provider, group in origins.items()}


def _model(
    model: configured.Model,
    settings: Settings,
    origins: dict[str, tuple[Origin, ...]],
    pools: dict[Pool, Pool],
    naming: _PoolNames,
) -> Model:
    providers = {provider.name: provider for provider in settings.providers}
    groups: dict[_Kinship, _Group] = {}
    for deployment in model.deployments:
        provider = providers[deployment.provider]
        for origin in origins[provider.name]:
            kinship = _Kinship(
                upstream_model=deployment.model or model.name,
                tls=origin.tls,
                path_prefix=origin.path_prefix,
                api_key=provider.api_key,
                health_path=_health_path(provider),
                engine=provider.offers,
                ranks=origin.ranks,
                cost_per_1k_input=deployment.cost_per_1k_input,
                cost_per_1k_output=deployment.cost_per_1k_output,
                cost_per_1k_cached_input=_cached_price(deployment),
            )
            groups.setdefault(kinship, _Group()).add(provider.name, origin.replica, deployment.weight)
    targets = tuple(_target(kinship, group, model.name, pools, naming) for kinship, group in groups.items())
    return Model(
        model.name,
        targets,
        image_tokens=model.image_tokens,
        bytes_per_token=model.bytes_per_token,
        tokenizer=model.tokenizer,
        engine_path=(model.engine_path or str(model.tokenizer)) if model.tokenizer else "",
        lora=targets[0].upstream_model if model.lora else "",
    )


def _target(kinship: _Kinship, group: _Group, model: str, pools: dict[Pool, Pool], naming: _PoolNames) -> Target:
    nameless = Pool(
        name="",
        replicas=tuple(group.replicas.values()),
        tls=kinship.tls,
        path_prefix=kinship.path_prefix,
        api_key=kinship.api_key,
        health_path=kinship.health_path,
        engine=kinship.engine,
    )
    if nameless not in pools:
        wish = next(iter(group.providers)) if len(group.providers) == 1 else model
        pools[nameless] = replace(nameless, name=naming.take(wish))
    return Target(
        pool=pools[nameless],
        upstream_model=kinship.upstream_model,
        cost_per_1k_input=kinship.cost_per_1k_input,
        cost_per_1k_output=kinship.cost_per_1k_output,
        cost_per_1k_cached_input=kinship.cost_per_1k_cached_input,
        providers=group.provider_of,
    )


class _PoolNames:
    """Gives out names that Envoy takes, each once."""

    def __init__(self, clusters: set[str | None]) -> None:
        self._taken = {FALLBACK_CLUSTER, *clusters}

    def take(self, wish: str) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-") or "pool"
        if name.startswith(_RESERVED_PREFIX):
            name = f"pool-{name}"
        free, number = name, 2
        while free in self._taken:
            free, number = f"{name}-{number}", number + 1
        self._taken.add(free)
        return free


def _cached_price(deployment: configured.Deployment) -> float:
    price = deployment.cost_per_1k_cached_input
    return deployment.cost_per_1k_input if price is None else price


def _health_path(provider: Provider) -> str:
    """As the engine has it; a path that was set is used all the same."""
    return provider.health_path if "health_path" in provider.model_fields_set else provider.offers.health_path

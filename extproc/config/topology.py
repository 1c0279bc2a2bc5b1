"""Settings -> who serves what: replicas, the pools they form, and the pools behind each model.

A pool is one Envoy cluster: replicas that can stand in for each other, so that Envoy may retry on any of them. Two
deployments share a pool when a retry needs no other body, path or key: same engine model name, same transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload

from .engines import ENGINES, Engine

FALLBACK_CLUSTER = "kvgate-default"
"""The cluster that serves, KV-blind, when the processor cannot be asked."""

RANK_MARK = "~"
"""Stands between a replica's name and a data-parallel rank of it; no configured name has one."""


TierKind = Literal["host", "remote"]
"""What can be behind a replica's KV cache, nearest first: memory of its host, and the store behind all hosts."""


def host_port(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class HostTier:
    """Memory behind a replica's KV cache that keeps what the cache evicts.

    Args:
        tokens: that fit in it.
        domain: replicas that name the same one share it; empty: it is the replica's own.
    """

    tokens: int
    domain: str = ""


@dataclass(frozen=True, slots=True)
class KvFeed:
    """Where an engine publishes what it stores and evicts, on ZMQ.

    Args:
        url: of the PUB socket, such as tcp://10.0.0.2:5557.
        replay_url: of the socket that sends earlier batches again; None: there is none.
        topic: that the events are published under; empty: all are read.
    """

    url: str
    replay_url: str | None = None
    topic: str = ""

    def of_rank(self, rank: int) -> KvFeed:
        """The feed of one data-parallel rank of the same engine: each publishes on ports of its own, counted on."""
        return replace(self, url=_port_plus(self.url, rank), replay_url=_port_plus(self.replay_url, rank))


@dataclass(frozen=True, slots=True)
class Replica:
    """What a request is sent to: an engine process, or one data-parallel rank of it, which has a cache of its own.

    Args:
        name: unique in the fleet; what `x-kvgate-replica` says. Of a rank, it ends with the mark and the number of it.
        host: as configured, a name or an address.
        weight: share of traffic under `weighted`.
        cluster: the Envoy cluster that holds this replica alone, if it has one.
        metrics_path: where the engine tells its load and the size of its KV cache; empty: nowhere.
        host_tier: behind its KV cache; None: there is none.
        remote_cache_tokens: that fit in the store behind all host tiers; None: it reaches none.
        draining: finishes what it has, gets nothing new.
        kv_feed: its KV events; None: it has none.
        rank: of those of the process; None: it has but one.
    """

    name: str
    host: str
    port: int
    weight: float = 1.0
    cluster: str | None = None
    metrics_path: str = ""
    host_tier: HostTier | None = None
    remote_cache_tokens: int | None = None
    draining: bool = False
    kv_feed: KvFeed | None = None
    rank: int | None = None

    @property
    def rank_suffix(self) -> str:
        """What its name has beyond that of its process."""
        return "" if self.rank is None else f"{RANK_MARK}{self.rank}"

    @property
    def process(self) -> str:
        """The name under which it is configured: that of the engine process."""
        return self.name.removesuffix(self.rank_suffix)

    def of_rank(self, rank: int) -> Replica:
        """One data-parallel rank of this process.

        >>> Replica("r0", "10.0.0.1", 8000).of_rank(1).name
        'r0~1'
        """
        feed = self.kv_feed.of_rank(rank) if self.kv_feed is not None else None
        return replace(self, name=f"{self.name}{RANK_MARK}{rank}", kv_feed=feed, rank=rank)


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas behind one Envoy cluster of the same name.

    Args:
        tls: whether Envoy speaks TLS to them.
        path_prefix: what stands before `/v1` in their URLs; empty for vLLM.
        api_key: sent upstream as a bearer token in place of the client's own.
        health_path: answers 200 when the engine can serve; empty: there is none, so no active health check.
        engine: what serves there. All replicas are of one kind, and have the same number of data-parallel ranks: what
            is sent to one can be sent to any.
    """

    name: str
    replicas: tuple[Replica, ...]
    tls: bool = False
    path_prefix: str = ""
    api_key: str | None = field(default=None, repr=False)
    health_path: str = "/health"
    engine: Engine = ENGINES["vllm"]

    def health_url(self, replica: Replica) -> str | None:
        """Where the replica says whether it can serve; None if it has no such page."""
        return self._url(replica, self.health_path)

    def metrics_url(self, replica: Replica) -> str | None:
        """Where the replica's engine tells its load; None if it has no such page."""
        return self._url(replica, replica.metrics_path)

    def _url(self, replica: Replica, path: str) -> str | None:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{host_port(replica.host, replica.port)}{path}" if path else None


@dataclass(frozen=True, slots=True)
class Target:
    """A pool that serves a model, under the engine's own name for it.

    Args:
        cost_per_1k_input: US dollars for 1,000 prompt tokens; of those that the engine had cached,
            `cost_per_1k_cached_input`.
        providers: who the pool's replicas come from, by replica name; of several, the one listed first.
    """

    pool: Pool
    upstream_model: str
    cost_per_1k_input: float = 0.0
    cost_per_1k_output: float = 0.0
    cost_per_1k_cached_input: float = 0.0
    providers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as clients name it.

    Args:
        image_tokens: the name of a token rule, or a fixed number of tokens an image.
        bytes_per_token: UTF-8 bytes of text in a token, on average.
        tokenizer: the folder of the model's tokenizer and chat template; None: its tokens are estimated.
        engine_path: what the engine was given as its model; empty without a tokenizer.
        lora: the engines' name of the adapter that it is; empty: it is none.
    """

    name: str
    targets: tuple[Target, ...]
    image_tokens: str | int = "qwen2_vl"
    bytes_per_token: float = 4.0
    tokenizer: Path | None = None
    engine_path: str = ""
    lora: str = ""

    @property
    def cache_identity(self) -> str:
        """What seeds the hash chain: logical names of one engine model share their KV cache."""
        names = {target.upstream_model for target in self.targets}
        return names.pop() if len(names) == 1 else self.name


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that can be routed to. `default_pool` is where requests go when nobody chose."""

    models: dict[str, Model]
    pools: dict[str, Pool]
    default_pool: str | None

    @property
    def replicas(self) -> dict[str, Replica]:
        """Every replica once, by name."""
        return {replica.name: replica for pool in self.pools.values() for replica in pool.replicas}

    @property
    def health_urls(self) -> dict[str, str | None]:
        """Where each replica says whether it can serve, by name; None for one that has no such page."""
        return {replica.name: pool.health_url(replica) for pool in self.pools.values() for replica in pool.replicas}

    @property
    def metrics_urls(self) -> dict[str, str | None]:
        """Where each engine process tells its load, by its name; None for one that has no such page."""
        return {replica.process: pool.metrics_url(replica) for pool in self.pools.values() for replica in pool.replicas}

    @property
    def ranks(self) -> dict[str, tuple[str, ...]]:
        """The names of the ranks of each engine process that has several, in their order, by the process's name."""
        found: dict[str, list[Replica]] = {}
        for replica in self.replicas.values():
            if replica.rank is not None:
                found.setdefault(replica.process, []).append(replica)
        return {
            process: tuple(each.name for each in sorted(ranks, key=lambda each: each.rank or 0))
            for process, ranks in found.items()
        }

    @property
    def kv_feeds(self) -> dict[str, KvFeed]:
        """Where each replica publishes its KV events, by name; those that do not are left out."""
        return {name: replica.kv_feed for name, replica in self.replicas.items() if replica.kv_feed is not None}


@overload
def _port_plus(url: str, rank: int) -> str: ...
@overload
def _port_plus(url: None, rank: int) -> None: ...
def _port_plus(url: str | None, rank: int) -> str | None:
    if url is None or not rank or not url.startswith("tcp://"):
        return url
    host, _, port = url.rpartition(":")
    return f"{host}:{int(port) + rank}"

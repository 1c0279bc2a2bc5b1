"""The sections of what serves: providers, their replicas, and where those publish their KV events."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, HttpUrl, PositiveFloat, PositiveInt, model_validator

from .engines import ENGINES, Engine, EngineKind
from .section import Name, Port, Section, ZmqUrl

MOST_RANKS = 1024
"""Data-parallel ranks that a replica can be said to have."""


class KvEvents(Section):
    """Where engines publish what they store and evict, as their `--kv-events-config` says."""

    port: Port = Field(5557, description="of `endpoint`, on each replica's host")
    replay_port: Port | None = Field(
        5558, description="of `replay_endpoint`, which sends again what was missed; null: the engines have none"
    )
    topic: str = Field("kv-events", max_length=256, description='as the engines have it; "" reads every topic')

    @model_validator(mode="after")
    def _two_ports(self) -> KvEvents:
        if self.port == self.replay_port:
            raise ValueError("port and replay_port are two sockets: they cannot be the same")
        return self


class Replica(Section):
    """One engine process. In YAML a bare URL does as well."""

    url: HttpUrl
    name: Name | None = Field(None, description="default: host:port")
    weight: PositiveFloat = Field(1.0, description="share of traffic under `weighted` and `session`")
    cluster: Name | None = Field(None, description="an Envoy cluster of its own, for bring-your-own Envoys")
    kv_domain: Name | None = Field(None, description="the host tier that it shares; default: as its provider says")
    kv_events_url: ZmqUrl | None = Field(
        None, description="where it publishes its KV events; default: as its provider says"
    )
    replay_url: ZmqUrl | None = Field(
        None,
        description="where it sends KV events again; default: as its provider says, unless kv_events_url is given",
    )
    data_parallel_size: PositiveInt | None = Field(
        None, le=MOST_RANKS, description="its data-parallel ranks; default: as its provider says"
    )
    drain: bool = Field(False, description="finish what it has, and get nothing new")

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value


class Provider(Section):
    """Replicas that are reached alike. `base_url` is short for one replica."""

    name: Name
    type: Literal["mock", "openai", "openai_compatible", "anthropic"] = "openai_compatible"
    engine: EngineKind | None = Field(
        None, description="what serves there; default: `vllm`, or `openai` for the hosted APIs"
    )
    base_url: HttpUrl | None = None
    replicas: tuple[Replica, ...] = ()
    api_key: str | None = Field(None, repr=False, description="sent upstream as a bearer token")
    health_path: str = Field(
        "/health", pattern=r"^/", description="answers 200 when the engine can serve; of `openai`, there is none"
    )
    metrics_path: str | None = Field(
        "/metrics",
        pattern=r"^(/.*)?$",
        description='tells load and size of the KV cache; "" if there is no such page, as of `openai`',
    )
    host_cache_tokens: PositiveInt | None = Field(
        None, description="tokens in the host tier behind each replica's KV cache, LMCache for example; default: none"
    )
    kv_domain: Name | None = Field(
        None, description="replicas that name the same domain share one host tier; default: each has its own"
    )
    remote_cache_tokens: PositiveInt | None = Field(
        None,
        description="tokens in the remote tier that the replicas reach, a Redis behind LMCache for example: one store "
        "for all providers that give it; default: none",
    )
    kv_events: KvEvents | None = Field(
        None, description="the replicas' KV events, of which precise mode is made; default: they publish none"
    )
    data_parallel_size: PositiveInt = Field(
        1,
        le=MOST_RANKS,
        description="data-parallel ranks of each replica, as `--data-parallel-size` says; each is routed to",
    )
    latency_ms: float = Field(0.0, ge=0, description="mock only: a fixed delay per request")
    tokens_per_second: PositiveFloat = Field(100.0, description="mock only: decode speed of one stream")
    prefill_tokens_per_second: PositiveFloat = Field(8000.0, description="mock only: prefill speed of the replica")
    kv_tokens: PositiveInt = Field(200_000, description="mock only: KV cache size in tokens")

    @model_validator(mode="after")
    def _one_way_to_name_replicas(self) -> Provider:
        if self.base_url is not None and self.replicas:
            raise ValueError("give either base_url or replicas, not both")
        if self.base_url is None and not self.replicas and self.type == "openai_compatible":
            raise ValueError("needs base_url or replicas")
        return self

    @property
    def offers(self) -> Engine:
        """What its engines offer."""
        return ENGINES[self.engine or ("openai" if self.type in ("openai", "anthropic") else "vllm")]

    def ranks_of(self, replica: Replica) -> int:
        """Data-parallel ranks of a replica of this provider."""
        return replica.data_parallel_size or self.data_parallel_size

    @model_validator(mode="after")
    def _what_the_engine_offers(self) -> Provider:
        engine = self.engine or "of a hosted API"
        if self.type == "mock" and self.engine not in (None, "vllm"):
            raise ValueError("type mock is a simulated vLLM: it cannot be another engine")
        if not self.offers.kv_events and (self.kv_events or any(each.kv_events_url for each in self.replicas)):
            raise ValueError(f"engine {engine} publishes no KV events: leave kv_events and kv_events_url out")
        if not self.offers.chooses_ranks and self.most_ranks > 1:
            raise ValueError(f"engine {engine} has no data-parallel ranks to choose: leave data_parallel_size out")
        return self

    @property
    def most_ranks(self) -> int:
        """Data-parallel ranks of the replica that has most of them."""
        return max((self.ranks_of(each) for each in self.replicas), default=self.data_parallel_size)

    @model_validator(mode="after")
    def _replay_of_something(self) -> Provider:
        for replica in self.replicas:
            if replica.replay_url and not (replica.kv_events_url or self.kv_events):
                raise ValueError(f"{replica.url} has a replay_url and no KV events: give kv_events_url or kv_events")
        return self

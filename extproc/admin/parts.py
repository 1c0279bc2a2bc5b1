"""What the admin service asks for what it serves. Requests and answers are the messages of admin.proto.

Whoever refuses a call raises one of `errors.py`, or a `GatewayError`, and has changed nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from extproc.admin.v1 import admin_pb2 as pb


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a request would go, and why.

    Args:
        receipt: the decision as data; its numbers, text, lists and objects are JSON's.
    """

    model: str
    replica: str
    prompt_tokens: int
    prompt_blocks: int
    receipt: dict[str, Any]


Explain = Callable[[str, bytes, str], Awaitable[Explanation]]
"""Path, body, session -> explanation. Raises GatewayError where the request would be refused."""

Asset = Callable[[str], "tuple[str, bytes] | None"]
"""A path below /dashboard -> content type and content."""


class Overview(Protocol):
    """How the gateway is, and what it has done."""

    def status(self) -> pb.Status: ...

    def stats(self) -> pb.Stats: ...


class Replicas(Protocol):
    """The replicas, and changes to them."""

    def list(self) -> pb.Replicas: ...

    async def add(self, request: pb.AddReplicaRequest) -> pb.Replica: ...

    async def remove(self, request: pb.RemoveReplicaRequest) -> pb.Replica: ...

    async def drain(self, request: pb.DrainReplicaRequest) -> pb.Replica: ...

    async def undrain(self, request: pb.UndrainReplicaRequest) -> pb.Replica: ...

    async def set_weight(self, request: pb.SetReplicaWeightRequest) -> pb.Replica: ...


class Decisions(Protocol):
    """What was decided lately."""

    def list(self, request: pb.ListDecisionsRequest) -> pb.Decisions: ...

    def get(self, request: pb.GetDecisionRequest) -> pb.Decision: ...


class Tenants(Protocol):
    """Who asks, and what they have spent."""

    async def list(self) -> pb.Tenants: ...

    async def reset(self, request: pb.ResetTenantRequest) -> pb.Tenant: ...


class Caches(Protocol):
    """The response caches."""

    def get(self) -> pb.Caches: ...

    async def flush(self, request: pb.FlushCachesRequest) -> pb.FlushCachesResponse: ...


class Configuration(Protocol):
    """The configuration in force, and the file."""

    async def get(self) -> pb.Config: ...

    async def reload(self) -> pb.ReloadConfigResponse: ...

    async def validate(self, request: pb.ValidateConfigRequest) -> pb.ValidateConfigResponse: ...


class Index(Protocol):
    """What the caches of the replicas are believed to hold."""

    def get(self) -> pb.Index: ...

    def dump(self, request: pb.DumpIndexRequest) -> pb.IndexDump: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """All of it.

    Args:
        metrics: all metrics, in Prometheus' text format.
        envoy_metrics: Envoy's, in the same format. Raises Away.
        asset: the dashboard's files.
    """

    explain: Explain
    metrics: Callable[[], bytes]
    envoy_metrics: Callable[[], Awaitable[bytes]]
    overview: Overview
    replicas: Replicas
    decisions: Decisions
    tenants: Tenants
    caches: Caches
    configuration: Configuration
    index: Index
    asset: Asset

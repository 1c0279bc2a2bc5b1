"""The gRPC edge of the admin API: which part answers which call. See proto/kvgate/admin/v1/admin.proto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import grpc
from google.api.httpbody_pb2 import HttpBody

from extproc.admin import pages
from extproc.admin.errors import Invalid, TooMany
from extproc.admin.guard import Access, Guard
from extproc.admin.parts import Explain, Parts
from extproc.admin.told import told
from extproc.admin.v1 import admin_pb2 as pb
from extproc.admin.v1 import admin_pb2_grpc

SERVICE: str = pb.DESCRIPTOR.services_by_name["Admin"].full_name
DEFAULT_PATH = "/v1/chat/completions"

_MOST_WATCHERS = 64
_SHORTEST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.1, 60.0

Context: TypeAlias = grpc.aio.ServicerContext


class Admin(admin_pb2_grpc.AdminServicer):
    """Serves `kvgate.admin.v1.Admin`."""

    def __init__(self, parts: Parts, access: Access | None = None) -> None:
        self._parts = parts
        self._guard = Guard(access or Access())
        self._watchers: set[asyncio.Event] = set()

    def add_to(self, server: grpc.aio.Server) -> None:
        admin_pb2_grpc.add_AdminServicer_to_server(self, server)

    def close(self) -> None:
        """Ends the streams of those who watch."""
        for each in self._watchers:
            each.set()

    # Calls are named by the API.

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:  # noqa: N802
        return await self._guard.answer(context, lambda: _explained(self._parts.explain, request))

    async def Metrics(self, _: pb.MetricsRequest, context: Context) -> HttpBody:  # noqa: N802
        return await self._guard.answer_scraper(context, lambda: pages.metrics(self._parts.metrics()))

    async def EnvoyMetrics(self, _: pb.MetricsRequest, context: Context) -> HttpBody:  # noqa: N802
        async def page() -> HttpBody:
            return pages.metrics(await self._parts.envoy_metrics())

        return await self._guard.answer_scraper(context, page)

    async def GetStatus(self, _: pb.GetStatusRequest, context: Context) -> pb.Status:  # noqa: N802
        return await self._guard.answer(context, self._parts.overview.status)

    async def GetStats(self, _: pb.GetStatsRequest, context: Context) -> pb.Stats:  # noqa: N802
        return await self._guard.answer(context, self._parts.overview.stats)

    async def ListReplicas(self, _: pb.ListReplicasRequest, context: Context) -> pb.Replicas:  # noqa: N802
        return await self._guard.answer(context, self._parts.replicas.list)

    async def WatchReplicas(  # noqa: N802
        self, request: pb.WatchReplicasRequest, context: Context
    ) -> AsyncIterator[pb.Replicas]:
        interval_s = await self._guard.answer(context, lambda: self._interval_s(request))
        ending = asyncio.Event()
        self._watchers.add(ending)
        try:
            while not ending.is_set():
                yield await self._guard.answer(context, self._parts.replicas.list)
                await _wait(ending, interval_s)
        finally:
            self._watchers.discard(ending)

    async def AddReplica(self, request: pb.AddReplicaRequest, context: Context) -> pb.Replica:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.replicas.add(told(context, request)))

    async def RemoveReplica(self, request: pb.RemoveReplicaRequest, context: Context) -> pb.Replica:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.replicas.remove(told(context, request)))

    async def DrainReplica(self, request: pb.DrainReplicaRequest, context: Context) -> pb.Replica:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.replicas.drain(told(context, request)))

    async def UndrainReplica(self, request: pb.UndrainReplicaRequest, context: Context) -> pb.Replica:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.replicas.undrain(told(context, request)))

    async def SetReplicaWeight(self, request: pb.SetReplicaWeightRequest, context: Context) -> pb.Replica:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.replicas.set_weight(told(context, request)))

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> pb.Decisions:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.decisions.list(request))

    async def GetDecision(self, request: pb.GetDecisionRequest, context: Context) -> pb.Decision:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.decisions.get(request))

    async def ListTenants(self, _: pb.ListTenantsRequest, context: Context) -> pb.Tenants:  # noqa: N802
        return await self._guard.answer(context, self._parts.tenants.list)

    async def ResetTenant(self, request: pb.ResetTenantRequest, context: Context) -> pb.Tenant:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.tenants.reset(told(context, request)))

    async def GetCaches(self, _: pb.GetCachesRequest, context: Context) -> pb.Caches:  # noqa: N802
        return await self._guard.answer(context, self._parts.caches.get)

    async def FlushCaches(self, request: pb.FlushCachesRequest, context: Context) -> pb.FlushCachesResponse:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.caches.flush(told(context, request)))

    async def GetConfig(self, _: pb.GetConfigRequest, context: Context) -> pb.Config:  # noqa: N802
        return await self._guard.answer(context, self._parts.configuration.get)

    async def ReloadConfig(self, _: pb.ReloadConfigRequest, context: Context) -> pb.ReloadConfigResponse:  # noqa: N802
        return await self._guard.answer(context, self._parts.configuration.reload)

    async def ValidateConfig(  # noqa: N802
        self, request: pb.ValidateConfigRequest, context: Context
    ) -> pb.ValidateConfigResponse:
        return await self._guard.answer(context, lambda: self._parts.configuration.validate(request))

    async def GetIndex(self, _: pb.GetIndexRequest, context: Context) -> pb.Index:  # noqa: N802
        return await self._guard.answer(context, self._parts.index.get)

    async def DumpIndex(self, request: pb.DumpIndexRequest, context: Context) -> pb.IndexDump:  # noqa: N802
        return await self._guard.answer(context, lambda: self._parts.index.dump(request))

    async def GetOpenApi(self, _: pb.GetOpenApiRequest, context: Context) -> HttpBody:  # noqa: N802
        return await self._page(context, pages.openapi)

    async def GetDocs(self, _: pb.GetDocsRequest, context: Context) -> HttpBody:  # noqa: N802
        return await self._page(context, pages.docs)

    async def GetDashboard(self, request: pb.GetDashboardRequest, context: Context) -> HttpBody:  # noqa: N802
        return await self._page(context, lambda: pages.dashboard(self._parts.asset, request.file))

    async def _page(self, context: Context, page: Callable[[], HttpBody]) -> HttpBody:
        return await self._guard.answer_anyone(context, page)

    def _interval_s(self, request: pb.WatchReplicasRequest) -> float:
        interval_s = request.interval_s or 1.0
        if not _SHORTEST_INTERVAL_S <= interval_s <= _LONGEST_INTERVAL_S:
            raise Invalid(f"interval_s must be from {_SHORTEST_INTERVAL_S} to {_LONGEST_INTERVAL_S:g} seconds.")
        if len(self._watchers) >= _MOST_WATCHERS:
            raise TooMany(f"{_MOST_WATCHERS} are watching already.")
        return interval_s


async def _explained(explain: Explain, request: pb.ExplainRequest) -> pb.ExplainResponse:
    found = await explain(request.path or DEFAULT_PATH, request.request.data, request.session)
    response = pb.ExplainResponse(
        model=found.model,
        replica=found.replica,
        prompt_tokens=found.prompt_tokens,
        prompt_blocks=found.prompt_blocks,
    )
    response.receipt.update(found.receipt)
    return response


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return

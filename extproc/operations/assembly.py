"""The parts of a running processor -> what its admin API serves. Used by `server.py` alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extproc.admin.guard import Access
from extproc.admin.parts import Explain, Explanation, Parts
from extproc.caching.exact import ExactCache
from extproc.clock import Clock
from extproc.config.section import is_loopback
from extproc.config.settings import Settings
from extproc.dashboard import asset
from extproc.fleet.state import Fleet
from extproc.gateway.dry_run import DryRun
from extproc.gateway.gateway import Gateway
from extproc.operations.caches import Caches
from extproc.operations.configuration import ConfigurationPart
from extproc.operations.decisions import Decisions
from extproc.operations.index import Index
from extproc.operations.live import LiveConfiguration
from extproc.operations.overview import Overview
from extproc.operations.replicas import Replicas
from extproc.operations.tenants import Tenants
from extproc.operations.totals import Totals

if TYPE_CHECKING:
    from extproc.caching.semantic.cache import SemanticCache


@dataclass(frozen=True, slots=True)
class Running:
    """What a processor is made of, as far as operators ask about it."""

    live: LiveConfiguration
    gateway: Gateway
    fleet: Fleet
    totals: Totals
    exact: ExactCache | None
    semantic: SemanticCache | None
    clock: Clock
    envoys: Callable[[], int]
    metrics: Callable[[], bytes]
    envoy_metrics: Callable[[], Awaitable[bytes]]

    def parts(self, wall: Callable[[], float] = time.time) -> Parts:
        """What the admin API serves.

        Args:
            wall: Unix time in seconds.
        """
        gateway, live, fleet = self.gateway, self.live, self.fleet
        tenants = Tenants(live, gateway.ledger, self.totals, lambda: gateway.catalog.current.policies, wall)
        return Parts(
            explain=_explainer(gateway),
            metrics=self.metrics,
            envoy_metrics=self.envoy_metrics,
            overview=Overview(
                live,
                fleet,
                self.totals,
                self.envoys,
                lambda: gateway.ready,
                gateway.ledger.known_spent,
                started_unix_s=wall(),
                wall=wall,
            ),
            replicas=Replicas(live, fleet, gateway.decisions, self.clock),
            decisions=Decisions(gateway.decisions),
            tenants=tenants,
            caches=Caches(self.exact, self.semantic, lambda: gateway.catalog.current.policies, tenants.names),
            configuration=ConfigurationPart(live),
            index=Index(fleet, self.clock),
            asset=asset,
        )


def access_of(settings: Settings) -> Access:
    """Who may use the admin API."""
    return Access(
        token=settings.operations.token,
        exposed=not _is_private(settings.processor_address),
        metrics_open=settings.operations.metrics_open,
    )


def _is_private(address: str) -> bool:
    return address.startswith("unix:") or is_loopback(address.rpartition(":")[0])


def _explainer(gateway: Gateway) -> Explain:
    dry_run = DryRun(gateway)

    async def explain(path: str, body: bytes, session: str) -> Explanation:
        would_be = await dry_run(path, body, session)
        chain, ranking = would_be.chain, would_be.ranking
        return Explanation(
            would_be.model.name, ranking.best.name, chain.prompt_tokens, len(chain), receipt=ranking.receipt()
        )

    return explain

"""How the gateway is, and what it has done: /admin/status and /admin/stats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from extproc import __version__
from extproc.admin.v1 import admin_pb2 as pb
from extproc.fleet.state import Fleet
from extproc.operations.live import LiveConfiguration
from extproc.operations.totals import NUSD_PER_USD, OfModel, Tokens, Totals

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Overview:
    """See `admin.parts.Overview`.

    Args:
        envoys: counts those that are connected.
        known_spent: nano-dollars in the window that is now, by tenant.
        wall: Unix time in seconds.
    """

    live: LiveConfiguration
    fleet: Fleet
    totals: Totals
    envoys: Callable[[], int]
    ready: Callable[[], bool]
    known_spent: Callable[[], dict[str, int]]
    started_unix_s: float
    wall: Callable[[], float]

    def status(self) -> pb.Status:
        live = self.live
        return pb.Status(
            version=__version__,
            started_unix_s=self.started_unix_s,
            uptime_s=max(0.0, self.wall() - self.started_unix_s),
            ready=self.ready(),
            envoys=self.envoys(),
            config_path=str(live.source.path or ""),
            config_loaded_unix_s=live.loaded_unix_s,
            config_error=live.error,
            requests_inflight=self.fleet.outstanding,
            warnings=list(self._warnings()),
        )

    def stats(self) -> pb.Stats:
        totals = self.totals
        tokens = [each.tokens for each in totals.models.values()]
        return pb.Stats(
            started_unix_s=self.started_unix_s,
            uptime_s=max(0.0, self.wall() - self.started_unix_s),
            requests=totals.requests,
            requests_inflight=self.fleet.outstanding,
            models=[_of_model(name, each) for name, each in sorted(totals.models.items())],
            cache=self._cache(),
            tokens=pb.TokenStats(
                input=sum(each.input for each in tokens),
                cached=sum(each.cached for each in tokens),
                output=sum(each.output for each in tokens),
            ),
            cost_usd=sum(each.cost_nusd for each in totals.models.values()) / NUSD_PER_USD,
            rate_limited=totals.refused_by_status[429],
            budget_rejected=totals.refused_by_status[402],
            failovers=totals.failovers,
            replicas={
                name: pb.ReplicaStats(
                    routed=state.routed,
                    inflight=state.inflight,
                    failures=state.failures,
                    latency_s=state.latency_s or 0.0,
                )
                for name, state in self.fleet.replicas.items()
            },
            tenants={name: pb.TenantSpend(spent_usd=nusd / NUSD_PER_USD) for name, nusd in self._spent()},
        )

    def _spent(self) -> list[tuple[str, int]]:
        """Of those who spent most."""
        return sorted(self.known_spent().items(), key=lambda each: -each[1])[:1000]

    def _cache(self) -> pb.CacheHits:
        counts = self.totals.cache
        hits = counts["exact_hit"] + counts["semantic_hit"]
        looked_up = hits + counts["miss"]
        return pb.CacheHits(
            exact=counts["exact_hit"],
            semantic=counts["semantic_hit"],
            misses=counts["miss"],
            bypassed=counts["bypass"],
            hit_rate=hits / looked_up if looked_up else 0.0,
        )

    def _warnings(self) -> Iterator[str]:
        live = self.live
        if live.error:
            yield "The configuration file is not valid; what it said before is in force."
        if not self.envoys():
            yield "No Envoy is connected."
        draining = [name for name, state in self.fleet.replicas.items() if state.draining]
        doubtful = [name for name, state in self.fleet.replicas.items() if not state.proven]
        if doubtful:
            yield f"Not known to serve: {_named(doubtful)}."
        if draining:
            yield f"Draining: {_named(draining)}."
        if live.overlay:
            yield "Changed over admin, until the next start: " + "; ".join(live.overlay.sentences()) + "."
        yield from live.file.warnings


def _of_model(name: str, totals: OfModel) -> pb.ModelStats:
    return pb.ModelStats(
        model=name,
        requests_by_status={str(status): count for status, count in sorted(totals.statuses.items())},
        tokens=token_stats(totals.tokens),
        cost_usd=totals.cost_nusd / NUSD_PER_USD,
    )


def token_stats(tokens: Tokens) -> pb.TokenStats:
    return pb.TokenStats(input=tokens.input, cached=tokens.cached, output=tokens.output)


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"

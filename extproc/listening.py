"""What keeps the fleet's state true beside the requests: feeds, and counting out what nobody reported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from extproc.clock import Clock
from extproc.config.topology import KvFeed
from extproc.fleet.events import Lapsed
from extproc.fleet.feeds.engine_metrics import EngineMetrics
from extproc.fleet.feeds.health import HealthFeed
from extproc.fleet.feeds.kv_events import KvEvents
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog

_SWEEP_INTERVAL_S = 5.0
_LOST_ENVOY_S = 10.0
_LEASE_S = 3600.0
"""After this long, a request whose end nobody reported is counted out."""


class Listening:
    """Everything that is heard of replicas but from the access log.

    Args:
        envoys: how many are connected.
        reported: whether an Envoy's access log comes in.
    """

    def __init__(
        self, fleet: Fleet, catalog: Catalog, clock: Clock, envoys: Callable[[], int], reported: Callable[[], bool]
    ) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._clock = clock
        self._envoys = envoys
        self._reported = reported

    def tasks(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """To be run beside the requests, by name."""
        current = self._catalog
        apply, clock = self._fleet.apply, self._clock
        metrics = EngineMetrics(
            lambda: current.current.metrics_urls,
            apply,
            clock,
            self._is_busy,
            lambda _, kind: self._fault(f"metrics: {kind}"),
            ranks=lambda: current.current.ranks,
        )
        yield "counting out lost requests", self._sweep
        yield "asking for health", HealthFeed(self._fleet, lambda: current.current.health_urls, clock).run
        yield "reading engine metrics", metrics.run
        yield "following KV events", self._follow_kv_events

    def envoy_started(self) -> None:
        """An Envoy that starts has no requests; if it is the only one, those of its previous life are gone."""
        if self._envoys() == 1:
            now_s = self._clock.now()
            self._fleet.apply(Lapsed(now_s, routed_before_s=now_s))

    async def _follow_kv_events(self) -> None:
        heard = KvEvents(
            self._kv_feeds, self._fleet.apply, self._clock, lambda _, kind: self._fault(f"KV events: {kind}")
        )
        await heard.run()

    def _kv_feeds(self) -> Mapping[str, KvFeed]:
        current = self._catalog.current
        return current.topology.kv_feeds if current.routing.prefix_index == "precise" else {}

    def _fault(self, kind: str) -> None:
        self._fleet.faults[kind] += 1

    def _is_busy(self, replica: str) -> bool:
        state = self._fleet.replicas.get(replica)
        return state is not None and state.inflight > 0

    async def _sweep(self) -> None:
        """Counts out requests whose end was never reported: their Envoy died, or its report was lost."""
        heard_s = self._clock.now()
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            now_s = self._clock.now()
            if self._envoys() or self._reported():
                heard_s = now_s
            lost = now_s - heard_s > _LOST_ENVOY_S
            self._fleet.apply(Lapsed(now_s, routed_before_s=heard_s if lost else now_s - _LEASE_S))

"""The processor: builds every part, wires them, serves until told to stop. The composition root; see `Processor`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2

from extproc.admin.service import Admin
from extproc.assembly import Assembly, put_off
from extproc.background import Background
from extproc.clock import Clock, MonotonicClock
from extproc.config.kv_store import KvServer
from extproc.config.settings import Settings
from extproc.config.watch import FileWatch
from extproc.control import kv_store
from extproc.control.ads import AggregatedDiscovery
from extproc.control.resources import Upstream
from extproc.control.snapshot import Snapshot
from extproc.endpoint import WATCHED, Services, grpc_server
from extproc.fleet.events import Finished
from extproc.fleet.feeds import addresses, config
from extproc.fleet.feeds.access_log import AccessLog
from extproc.fleet.index import CacheIndex
from extproc.fleet.outcome import Outcome
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog, Directory
from extproc.gateway.decisions import Decisions
from extproc.gateway.gateway import Gateway, Observers
from extproc.gateway.policies import Policies
from extproc.gateway.sampler import Sampler
from extproc.listening import Listening
from extproc.metering.metering import Metered, Metering
from extproc.metering.settlement import Settlement, end_of
from extproc.models import TokenizedModels
from extproc.operations.assembly import Running, access_of
from extproc.operations.envoy_metrics import EnvoyMetrics
from extproc.operations.live import Configuration, LiveConfiguration, Source
from extproc.operations.totals import Totals
from extproc.recording import Recording
from extproc.routing import build_strategy
from extproc.telemetry.health_page import HealthPage, dropped_events
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.precise_page import PrecisePage
from extproc.telemetry.traffic import PolicyPage

log = logging.getLogger(__name__)

_RESOLVE_INTERVAL_S = 10.0


class Processor:
    """The brain of the gateway as one process: ext_proc, access log, ADS, admin, health and reflection on one
    gRPC server.

    Args:
        reload: reads the configuration again.
            Raises ValueError, with text for the operator, if it is not valid.
        path: the file to watch for changes; None watches nothing.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        reload: Callable[[], Configuration] | None = None,
        path: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._live = LiveConfiguration(configuration, Source(reload, path), self._adopt)
        self._watch = FileWatch(path) if path else None
        self._clock = clock or MonotonicClock()
        settings, topology = configuration.settings, configuration.topology
        self._metrics = Metrics(lambda: self._catalog.current.routing.prefix_kv_aware.block_size)
        self.fleet = Fleet(
            CacheIndex(settings.routing.prefix_kv_aware.max_blocks_per_replica),
            observe=self._served,
        )
        self._decisions, self._totals = Decisions(), Totals()
        self._recording = Recording(settings.telemetry)
        self._parts = parts = Assembly.of(settings, self.fleet, self._clock)
        self._metrics.watch_fleet(self.fleet, self._clock.now)
        self._metrics.watch(PrecisePage(self.fleet, lambda: parts.tokenise.outcomes))
        self._metrics.watch(PolicyPage(parts.ledger.known_spent, parts.pipeline.totals))
        self._metrics.watch(HealthPage(self._read_at, self._envoys, parts.redis_up, self._dropped))
        strategy = build_strategy(settings.routing)
        self._catalog = Catalog(Directory(topology, settings.routing, strategy, {}, Policies.of(settings)))
        self.gateway = Gateway(
            self._catalog,
            self.fleet,
            parts.ledger,
            parts.pipeline,
            self._clock,
            Sampler(settings.processor.ttft_samples_per_s, self._clock),
            started_unix_s=int(time.time()),
            caches=parts.exact is not None,
            observer=Observers(self._metrics, self._totals),
            decisions=self._decisions,
            tells=self._recording.request_log is not None,
        )
        self._settlement = Settlement(Metering(parts.ledger, self._metered))
        self._access_log = AccessLog(self.fleet, lambda: self._catalog.current.replica_at, self._clock, self._ended)
        self._discovery = AggregatedDiscovery(on_started=lambda: self._listening.envoy_started())
        self._listening = Listening(
            self.fleet, self._catalog, self._clock, self._envoys, lambda: bool(self._access_log.streams)
        )
        self._health = grpc_health.aio.HealthServicer()
        running = Running(
            self._live,
            self.gateway,
            self.fleet,
            self._totals,
            parts.exact,
            parts.semantic,
            self._clock,
            envoys=lambda: self._discovery.connected,
            metrics=self._metrics.exposition,
            envoy_metrics=EnvoyMetrics(settings.envoy.admin_host, settings.envoy.admin_port),
        )
        self._admin = Admin(running.parts(), access_of(settings))
        processor = self._recording.processor(self.gateway, self._metrics.took)
        services = Services(processor, self._access_log, self._discovery, self._health, self._admin)
        self._server = grpc_server(services, settings.server.max_body_bytes)
        self._background = Background()
        self._kv_addresses: dict[str, addresses.Address] = {}
        self._models = TokenizedModels()

    @property
    def metrics(self) -> Metrics:
        """Everything that is counted."""
        return self._metrics

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        await self.start()
        await stop.wait()
        await self.stop()

    async def start(self) -> None:
        """Starts to serve.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        await self._adopt(self._live.current)
        settings = self._live.current.settings
        if settings.processor.listen is None:
            settings.make_run_dir()
        address = settings.processor_address
        self._server.add_insecure_port(address)
        await self._server.start()
        for service in WATCHED:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._start_background()
        log.info("processor listens on %s; replicas: %s", address, ", ".join(self.fleet.replicas) or "none")

    async def stop(self) -> None:
        """Lets streams in flight end, for at most `drain_timeout_s`."""
        log.info("draining")
        await self._health.enter_graceful_shutdown()
        await self._background.stop()
        self._discovery.close()
        self._access_log.close()
        self._admin.close()
        await self._server.stop(self._live.current.settings.processor.drain_timeout_s)
        for close in self._parts.closing:
            await close()
        await self._recording.close()
        log.info("stopped")

    async def reconfigure(self, configuration: Configuration) -> None:
        """Takes a new configuration as a whole; requests in flight keep the one they began with.

        Raises:
            ValueError: it cannot be used; nothing has changed.
        """
        await self._live.take(configuration)

    async def _adopt(self, configuration: Configuration) -> None:
        """Makes a configuration the current one: in Envoy, in the fleet, on the request path. All of it or nothing."""
        settings, topology, previous = configuration.settings, configuration.topology, self._catalog.current
        routing, policies = settings.routing, Policies.of(settings)
        found = await addresses.resolve(topology.replicas, previous.addresses)
        kv_found = await addresses.resolve(_kv_servers(settings), self._kv_addresses)
        strategy = previous.strategy if previous.routing == routing else build_strategy(routing)
        tokenized = await self._models.of(topology, routing)
        snapshot = Snapshot.of(topology, found, _upstream(settings), kv_store.served(settings.kv_store, kv_found))
        for effect in put_off(self._live.current.settings, settings):
            log.warning("%s", effect)
        self.fleet.configure(routing.failure_threshold, routing.cooldown_s, routing.latency_ewma_alpha)
        for event in config.changes(self.fleet.replicas, topology.replicas, self._clock.now()):
            self.fleet.apply(event)
        self._decisions.keep_replicas(topology.replicas)
        self._discovery.publish(snapshot)
        self._catalog.current = Directory(topology, routing, strategy, found, policies, tokenized)
        self._kv_addresses = kv_found

    def _served(self, outcome: Outcome) -> None:
        self._metrics.observe(outcome)
        self._decisions.outcome(outcome)
        if self._recording.request_log is not None:
            self._recording.request_log.outcome(outcome)

    def _metered(self, metered: Metered) -> None:
        self._metrics.metered(metered)
        self._totals.metered(metered)
        if self._recording.request_log is not None:
            self._recording.request_log.metered(metered)

    def _ended(self, entry: HTTPAccessLogEntry, event: Finished) -> None:
        self._settlement(entry, event)
        self._decisions.ended(event, end_of(entry, event).duration_s)
        if self._recording.request_log is not None:
            self._recording.request_log.ended(entry, event)

    def _start_background(self) -> None:
        self._background.start("resolving host names", self._resolve_again)
        for name, task in (*self._listening.tasks(), *self._parts.tasks):
            self._background.start(name, task)
        if (watch := self._watch) is not None:
            self._background.start("following the configuration", lambda: self._follow(watch))

    def _read_at(self) -> tuple[float, bool]:
        return self._live.loaded_unix_s, bool(self._live.error)

    def _envoys(self) -> int:
        return self._discovery.connected

    def _dropped(self) -> dict[str, int]:
        exact = self._parts.exact
        dropped = dropped_events(self.fleet.faults, exact.stats().dropped if exact is not None else 0)
        return {**dropped, **self._recording.dropped()}

    def _hang_up(self) -> None:
        """SIGHUP: the configuration has changed, or the request log has been rotated."""
        self._recording.reopen()
        if self._watch is not None:
            self._watch.ask()

    async def _follow(self, watch: FileWatch) -> None:
        """Reloads when the file changes; a file that is not valid changes nothing and says why."""
        async for _ in watch.changes():
            with contextlib.suppress(ValueError, OSError):
                await self._live.reload()

    async def _resolve_again(self) -> None:
        while True:
            await asyncio.sleep(_RESOLVE_INTERVAL_S)
            current, settings = self._catalog.current, self._live.current.settings
            found = await addresses.resolve(current.topology.replicas, current.addresses)
            kv_found = await addresses.resolve(_kv_servers(settings), self._kv_addresses)
            same = found == current.addresses and kv_found == self._kv_addresses
            if not same and current is self._catalog.current:
                log.info("addresses changed: %s", {**found, **kv_found})
                store = kv_store.served(settings.kv_store, kv_found)
                self._discovery.publish(Snapshot.of(current.topology, found, _upstream(settings), store))
                self._catalog.current = replace(current, addresses=found)
                self._kv_addresses = kv_found


def _upstream(settings: Settings) -> Upstream:
    routing = settings.routing
    return Upstream(routing.failure_threshold, routing.cooldown_s, Upstream.system_ca_file())


def _kv_servers(settings: Settings) -> dict[str, KvServer]:
    peers = settings.kv_store.peers if settings.kv_store is not None else ()
    return {each.name: each for each in peers}


async def serve(
    configuration: Configuration, *, reload: Callable[[], Configuration] | None = None, path: Path | None = None
) -> None:
    """Runs a processor until it is told to stop."""
    with contextlib.suppress(asyncio.CancelledError):
        await Processor(configuration, reload=reload, path=path).run()

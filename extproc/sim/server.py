"""The HTTP server of a simulated replica."""

from __future__ import annotations

import socket
from types import TracebackType

from aiohttp import web

from extproc.clock import Clock, MonotonicClock
from extproc.sim.dialects import DIALECTS
from extproc.sim.faults import Faults
from extproc.sim.inference import Inference
from extproc.sim.kv_events import Publisher
from extproc.sim.operations import Operations
from extproc.sim.replica import Replica
from extproc.sim.settings import SimSettings

MAX_BODY_BYTES = 128 * 1024 * 1024
_BACKLOG = 1024


class RunningSim:
    """A replica that listens. ``async with await start(settings) as sim`` stops it at the end."""

    def __init__(self, replica: Replica, runner: web.AppRunner, port: int) -> None:
        self.replica = replica
        self.port = port
        self._runner = runner

    @property
    def address(self) -> str:
        return f"{self.replica.settings.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def kv_events_endpoint(self) -> str | None:
        publisher = self.replica.ranks[0].publisher
        return publisher.endpoint if publisher else None

    @property
    def kv_events_replay(self) -> str | None:
        publisher = self.replica.ranks[0].publisher
        return publisher.replay_endpoint if publisher else None

    async def stop(self) -> None:
        """Stop listening, let replies under way end for the grace period, then close everything."""
        await self._runner.cleanup()
        for rank in self.replica.ranks:
            rank.loop.close()
            if rank.publisher is not None:
                await rank.publisher.close()

    async def __aenter__(self) -> RunningSim:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


async def start(settings: SimSettings, *, clock: Clock | None = None, faults: Faults | None = None) -> RunningSim:
    """Start a replica in the running event loop.

    Args:
        clock: what the engine is timed by; the machine's if None.
        faults: the fault switch, for tests that outlive the replica's "die".

    Raises:
        OSError: the address is taken.
        zmq.ZMQError: so is that of the KV events.
    """
    listener = _listen(settings.host, settings.port)
    publishers: list[Publisher] = []
    try:
        for rank in range(settings.data_parallel_size if settings.kv_events_endpoint else 0):
            publishers.append(_publisher(settings, rank))  # noqa: PERF401 - closed below if the next one fails
    except BaseException:
        listener.close()
        for publisher in publishers:
            await publisher.close()
        raise
    replica = Replica(settings, clock or MonotonicClock(), publishers, faults or Faults())
    runner = web.AppRunner(
        application(replica),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=settings.shutdown_grace_s,
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    return RunningSim(replica, runner, listener.getsockname()[1])


def application(replica: Replica) -> web.Application:
    """The routes of a replica."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    for path, dialect in DIALECTS.items():
        app.router.add_post(path, Inference(replica, dialect).__call__)
    app.router.add_routes(Operations(replica).routes())
    return app


def _publisher(settings: SimSettings, rank: int) -> Publisher:
    endpoint, replay = _counted_on(settings.kv_events_endpoint, rank), _counted_on(settings.kv_events_replay, rank)
    assert endpoint is not None
    return Publisher(settings.engine.block_size, endpoint, replay, rank)


def _counted_on(endpoint: str | None, rank: int) -> str | None:
    """Where a data-parallel rank has its socket, as in vLLM: at the port of the first one plus its number."""
    if endpoint is None or not endpoint.startswith("tcp://"):
        return endpoint
    address, _, port = endpoint.rpartition(":")
    return f"{address}:{int(port) + rank}" if port not in ("0", "*") else endpoint


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener

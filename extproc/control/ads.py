"""The ADS server: keeps every connected Envoy at the published snapshot (state of the world: CDS, EDS, LDS and SDS).

Protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from extproc.control.snapshot import CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, SECRET_TYPE, Snapshot

log = logging.getLogger(__name__)

_PUSH_ORDER = (SECRET_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE)
_ALL_OR_NONE = (CLUSTER_TYPE, LISTENER_TYPE)
"""Types that are asked for without names, and mean all of them."""


@dataclass(slots=True)
class _Subscription:
    """What one Envoy wants of one type, and what it was last sent."""

    names: frozenset[str] = frozenset()
    version: str = ""
    nonce: str = ""
    sent: frozenset[str] = frozenset()
    settled: bool = True


@dataclass(slots=True)
class Conversation:
    """One Envoy's ADS stream, without the stream: requests and snapshots in, responses out.

    Args:
        snapshot: what Envoy should know; None until the first one is published.
        on_started: called when this Envoy turns out to have just started: it has accepted nothing before. One that only
            lost its connection says which version it has.
    """

    snapshot: Snapshot | None
    envoy: str = "?"
    on_started: Callable[[], None] = lambda: None
    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    _nonces: int = 0

    def on_request(self, request: DiscoveryRequest) -> list[DiscoveryResponse]:
        """A subscription, an ACK or a NACK."""
        if request.node.id:
            self.envoy = request.node.id
        known = self._subscriptions.get(request.type_url)
        if known is None:
            known = self._subscriptions[request.type_url] = _Subscription()
            if request.type_url == CLUSTER_TYPE and not request.version_info:
                self.on_started()
        known.names = frozenset(request.resource_names)
        if self._settles(known, request):
            return self._respond(request.type_url) if not self._covers(known) else []
        if known.nonce and request.response_nonce and request.response_nonce != known.nonce:
            # Sent before Envoy saw our latest response, which counts unless it lacks a name asked for here.
            return self._respond(request.type_url) if not self._covers(known) else []
        # First request of its type, or an answered nonce again: a cluster is warming and awaits its endpoints.
        return self._respond(request.type_url)

    def on_snapshot(self, snapshot: Snapshot) -> list[DiscoveryResponse]:
        """A new snapshot: the types that changed, what is named before what names it."""
        self.snapshot = snapshot
        return [
            response
            for type_url in _PUSH_ORDER
            if type_url in self._subscriptions
            and self._subscriptions[type_url].version != snapshot.type(type_url).version
            for response in self._respond(type_url)
        ]

    def _settles(self, subscription: _Subscription, request: DiscoveryRequest) -> bool:
        """Whether this is the ACK or NACK of the latest response."""
        if subscription.settled or request.response_nonce != subscription.nonce:
            return False
        subscription.settled = True
        if request.HasField("error_detail"):
            log.error(
                "Envoy %s rejected %s version %s and keeps what it had: %s",
                self.envoy,
                request.type_url.rpartition(".")[2],
                subscription.version,
                request.error_detail.message,
            )
        return True

    def _covers(self, subscription: _Subscription) -> bool:
        """Whether the latest response held every name asked for that exists."""
        if self.snapshot is None:
            return True
        return subscription.names <= subscription.sent

    def _respond(self, type_url: str) -> list[DiscoveryResponse]:
        if self.snapshot is None:
            return []  # on_snapshot will answer
        subscription = self._subscriptions[type_url]
        wanted = self.snapshot.type(type_url)
        everything = type_url in _ALL_OR_NONE
        self._nonces += 1
        subscription.version = wanted.version
        subscription.nonce = str(self._nonces)
        subscription.sent = subscription.names
        subscription.settled = False
        return [
            DiscoveryResponse(
                type_url=type_url,
                version_info=wanted.version,
                nonce=subscription.nonce,
                resources=[
                    resource for name, resource in wanted.resources.items() if everything or name in subscription.names
                ],
            )
        ]


class AggregatedDiscovery(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """The gRPC service. Lives on one event loop; `publish` and `close` are called on it.

    Args:
        on_started: called when an Envoy connects that has just started.
    """

    def __init__(self, snapshot: Snapshot | None = None, *, on_started: Callable[[], None] = lambda: None) -> None:
        self._snapshot = snapshot
        self._on_started = on_started
        self._inboxes: set[asyncio.Queue[DiscoveryRequest | Snapshot | None]] = set()
        self._closed = False

    def publish(self, snapshot: Snapshot) -> None:
        """Make this what every Envoy knows. A snapshot equal to the last one is not sent."""
        if self._snapshot is not None and self._snapshot.version == snapshot.version:
            return
        self._snapshot = snapshot
        for inbox in self._inboxes:
            inbox.put_nowait(snapshot)

    def close(self) -> None:
        """End all streams cleanly; Envoys keep what they have and reconnect."""
        self._closed = True
        for inbox in self._inboxes:
            inbox.put_nowait(None)

    @property
    def connected(self) -> int:
        """Envoys with an open stream."""
        return len(self._inboxes)

    async def StreamAggregatedResources(  # noqa: N802 - named by the API
        self, requests: AsyncIterator[DiscoveryRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[DiscoveryResponse]:
        if self._closed:
            return
        inbox: asyncio.Queue[DiscoveryRequest | Snapshot | None] = asyncio.Queue()
        conversation = Conversation(self._snapshot, on_started=self._on_started)
        self._inboxes.add(inbox)
        reader = asyncio.create_task(_forward(requests, inbox))
        try:
            while (event := await inbox.get()) is not None:
                if isinstance(event, Snapshot):
                    responses = conversation.on_snapshot(event)
                else:
                    responses = conversation.on_request(event)
                for response in responses:
                    yield response
        finally:
            self._inboxes.discard(inbox)
            reader.cancel()


async def _forward(
    requests: AsyncIterator[DiscoveryRequest], inbox: asyncio.Queue[DiscoveryRequest | Snapshot | None]
) -> None:
    """Put an Envoy's requests in the inbox, and None when it goes."""
    try:
        async for request in requests:
            inbox.put_nowait(request)
    except grpc.RpcError:
        log.debug("an Envoy's ADS stream broke off", exc_info=True)
    finally:
        inbox.put_nowait(None)

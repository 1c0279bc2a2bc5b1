"""Envoy's gRPC access log -> `Finished`: what became of each request, as the data plane saw it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping

import grpc
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon, HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse
from envoy.service.accesslog.v3.als_pb2_grpc import AccessLogServiceServicer
from google.protobuf.struct_pb2 import Struct

from extproc.clock import Clock
from extproc.fleet.events import Finished, Usage
from extproc.fleet.state import Fleet

log = logging.getLogger(__name__)

ReplicaAt = Callable[[], Mapping[tuple[str, int], str]]
"""Gives the current map from (IP address, port) to the replica's name, that of the process if it has ranks."""

Ended = Callable[[HTTPAccessLogEntry, Finished], None]


def finished(entry: HTTPAccessLogEntry, replica_at: Mapping[tuple[str, int], str], at_s: float) -> Finished:
    """The event that one log entry reports."""
    common, response = entry.common_properties, entry.response
    metadata = common.metadata.filter_metadata
    return Finished(
        at_s=at_s,
        ticket=_string(metadata.get("kvgate"), "ticket"),
        request_id=entry.request.request_id,
        served=_served(common, replica_at),
        status=response.response_code.value,
        attempts=max(1, common.upstream_request_attempt_count),
        reached=common.HasField("time_to_first_upstream_rx_byte") and response.response_body_bytes > 0,
        usage=_usage(metadata.get("kvgate.usage")),
    )


def _served(common: AccessLogCommon, replica_at: Mapping[tuple[str, int], str]) -> str | None:
    """The replica of the last attempt, if it answered at all.

    The address is that of a process; which of its data-parallel ranks it was, the gateway said when it chose.
    """
    address = common.upstream_remote_address.socket_address
    if not common.HasField("time_to_first_upstream_rx_byte"):
        return None
    process = replica_at.get((address.address, address.port_value))
    rank_suffix = _string(common.metadata.filter_metadata.get("kvgate"), "rank_suffix")
    return process if process is None else process + rank_suffix


def _usage(tokens: Struct | None) -> Usage:
    return Usage(
        prompt_tokens=_count(tokens, "prompt_tokens"),
        completion_tokens=_count(tokens, "completion_tokens"),
        cached_tokens=_count(tokens, "cached_tokens"),
    )


def _count(tokens: Struct | None, key: str) -> int | None:
    """A token count, if the engine gave one that can be true."""
    if tokens is None or key not in tokens.fields:
        return None
    number = tokens.fields[key].number_value
    return int(number) if math.isfinite(number) and 0 <= number < 2**53 else None


def _string(metadata: Struct | None, key: str) -> str:
    if metadata is None or key not in metadata.fields:
        return ""
    return str(metadata.fields[key].string_value)


class AccessLog(AccessLogServiceServicer):  # type: ignore[misc]
    """Serves `envoy.service.accesslog.v3.AccessLogService` and applies what it hears to the fleet.

    Args:
        ended: is told of every request, too.
    """

    def __init__(self, fleet: Fleet, replica_at: ReplicaAt, clock: Clock, ended: Ended | None = None) -> None:
        self._fleet = fleet
        self._replica_at = replica_at
        self._clock = clock
        self._ended = ended
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """Envoys that are reporting."""
        return len(self._readers)

    def close(self) -> None:
        """Ends all streams cleanly; Envoys open new ones with their next entry."""
        for reader in self._readers:
            reader.cancel()

    async def StreamAccessLogs(  # noqa: N802 - named by the API
        self, messages: AsyncIterator[StreamAccessLogsMessage], context: grpc.aio.ServicerContext
    ) -> StreamAccessLogsResponse:
        reader = asyncio.create_task(self._read(messages))
        self._readers.add(reader)
        try:
            await asyncio.wait([reader])
        finally:
            reader.cancel()
            self._readers.discard(reader)
        return StreamAccessLogsResponse()

    async def _read(self, messages: AsyncIterator[StreamAccessLogsMessage]) -> None:
        try:
            async for message in messages:
                self.take(message)
        except grpc.RpcError:
            log.debug("an Envoy's access log stream broke off", exc_info=True)

    def take(self, message: StreamAccessLogsMessage) -> None:
        """Applies every entry of a message."""
        now_s, replica_at = self._clock.now(), self._replica_at()
        for entry in message.http_logs.log_entry:
            self._take_in(entry, replica_at, now_s)

    def _take_in(self, entry: HTTPAccessLogEntry, replica_at: Mapping[tuple[str, int], str], now_s: float) -> None:
        """Applies one; a fault of ours in it must not cost those behind it."""
        try:
            event = finished(entry, replica_at, now_s)
            self._fleet.apply(event)
            if self._ended is not None:
                self._ended(entry, event)
        except Exception:
            self._fleet.faults["access log"] += 1
            log.exception("an access log entry could not be taken in")

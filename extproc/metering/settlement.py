"""Envoy's access log -> the end of a request, billed and counted."""

from __future__ import annotations

from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from google.protobuf.duration_pb2 import Duration

from extproc.fleet.events import Finished
from extproc.metering.meter import Meter, meter_of
from extproc.metering.metering import End, Metering

NAMESPACE, KEY = "kvgate", "meter"


class Settlement:
    """Takes the end of every request; those that were not routed by a gateway have no meter and are nobody's."""

    def __init__(self, metering: Metering) -> None:
        self._metering = metering

    def __call__(self, entry: HTTPAccessLogEntry, event: Finished) -> None:
        meter = _meter(entry)
        if meter is not None:
            self._metering.take(meter, end_of(entry, event))


def _meter(entry: HTTPAccessLogEntry) -> Meter | None:
    noted = entry.common_properties.metadata.filter_metadata.get(NAMESPACE)
    if noted is None or KEY not in noted.fields:
        return None
    return meter_of(noted.fields[KEY].string_value)


def end_of(entry: HTTPAccessLogEntry, event: Finished) -> End:
    """What the log tells of the end."""
    common, response = entry.common_properties, entry.response
    first_byte = common.HasField("time_to_first_upstream_rx_byte")
    return End(
        status=event.status,
        attempts=event.attempts,
        usage=event.usage,
        answered=first_byte and 200 <= event.status < 400,
        answer_bytes=response.response_body_bytes,
        duration_s=_seconds(common.time_to_last_downstream_tx_byte) or _seconds(common.duration),
        upstream_s=_seconds(common.time_to_last_upstream_rx_byte) if first_byte else None,
    )


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)

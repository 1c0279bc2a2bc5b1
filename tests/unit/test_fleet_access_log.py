"""What Envoy's access log is understood to say."""

from __future__ import annotations

import math

import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from hypothesis import given
from hypothesis import strategies as st

from extproc.clock import ManualClock
from extproc.fleet.events import Event, Finished, Usage
from extproc.fleet.feeds.access_log import AccessLog, finished
from tests.unit.say import fleet_of

REPLICA_AT = {("10.0.0.1", 8000): "a", ("10.0.0.2", 8000): "b"}


def entry(
    address: str = "10.0.0.1", *, status: int = 200, body_bytes: int = 9, answered: bool = True
) -> HTTPAccessLogEntry:
    log = HTTPAccessLogEntry()
    log.request.request_id = "r"
    log.response.response_code.value = status
    log.response.response_body_bytes = body_bytes
    log.common_properties.upstream_remote_address.socket_address.address = address
    log.common_properties.upstream_remote_address.socket_address.port_value = 8000
    log.common_properties.upstream_request_attempt_count = 2
    if answered:
        log.common_properties.time_to_first_upstream_rx_byte.nanos = 1000
    log.common_properties.metadata.filter_metadata["kvgate"]["ticket"] = "t"
    return log


def usage(log: HTTPAccessLogEntry, **tokens: object) -> Usage:
    log.common_properties.metadata.filter_metadata["kvgate.usage"].update(tokens)
    return finished(log, REPLICA_AT, 5.0).usage


def test_the_entry_names_the_replica_that_served_and_its_attempts() -> None:
    assert finished(entry("10.0.0.2"), REPLICA_AT, 5.0) == Finished(5.0, "t", "r", "b", 200, 2, reached=True)


def test_a_replica_that_never_answered_did_not_serve() -> None:
    event = finished(entry(status=503, answered=False), REPLICA_AT, 5.0)
    assert event.served is None
    assert not event.reached


def test_an_answer_without_a_body_computed_nothing() -> None:
    assert not finished(entry(body_bytes=0), REPLICA_AT, 5.0).reached


def test_an_address_that_is_no_replica_is_nobody() -> None:
    assert finished(entry("10.9.9.9"), REPLICA_AT, 5.0).served is None


def test_usage_comes_from_metadata() -> None:
    assert usage(entry(), prompt_tokens=100, completion_tokens=7, cached_tokens=64) == Usage(100, 7, 64)


@pytest.mark.parametrize("lie", [-1, math.nan, math.inf, 1e300])
def test_a_count_that_cannot_be_true_is_no_count(lie: float) -> None:
    assert usage(entry(), prompt_tokens=lie).prompt_tokens is None


def test_an_empty_entry_is_an_end_all_the_same() -> None:
    assert finished(HTTPAccessLogEntry(), REPLICA_AT, 5.0) == Finished(5.0, "")


@given(st.binary(max_size=300))
def test_no_entry_is_misunderstood_with_an_exception(data: bytes) -> None:
    try:
        log = HTTPAccessLogEntry.FromString(data)
    except Exception:  # not a message at all: gRPC refuses it before us
        return
    assert finished(log, REPLICA_AT, 5.0).attempts >= 1


def test_a_fault_of_ours_in_one_entry_does_not_cost_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_of("a")
    taken: list[Event] = []

    def apply(event: Event) -> None:
        if not taken:
            taken.append(event)
            raise ZeroDivisionError
        taken.append(event)

    monkeypatch.setattr(fleet, "apply", apply)
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.extend([entry(), entry()])
    AccessLog(fleet, lambda: REPLICA_AT, ManualClock()).take(message)
    assert len(taken) == 2
    assert fleet.faults["access log"] == 1

"""One line of JSON a request, from Envoy's access log: everything that explains it, and nothing private.

What the processor knew of the request comes back with the entry (`metering/story.py`); what came of it, from those who
have taken the same entry in just before. docs/logs.md says what each field means.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime, timezone

import orjson
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon, HTTPAccessLogEntry
from google.protobuf.duration_pb2 import Duration

from extproc.fleet.events import Finished
from extproc.fleet.outcome import Outcome
from extproc.metering.metering import Metered
from extproc.metering.story import KEY, UNTOLD, Story

log = logging.getLogger(__name__)

_PROBES = frozenset({"/healthz", "/readyz"})
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST = 128
_NUSD_PER_USD = 1_000_000_000
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class RequestLog:
    """Writes the line of each request that has ended.

    Args:
        put: takes a line.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._outcome: Outcome | None = None
        self._metered: Metered | None = None

    def outcome(self, outcome: Outcome) -> None:
        """What came of the request whose end is being taken in."""
        self._outcome = outcome

    def metered(self, metered: Metered) -> None:
        """What it took."""
        self._metered = metered

    def ended(self, entry: HTTPAccessLogEntry, event: Finished) -> None:
        """A request has ended, and the others know."""
        outcome, metered = self._outcome, self._metered
        self._outcome = self._metered = None
        if event.status == 200 and entry.request.path.partition("?")[0] in _PROBES:
            return
        if outcome is not None and outcome.ticket != event.ticket:
            outcome = None
        if metered is not None and metered.end.usage is not event.usage:
            metered = None
        self._put(orjson.dumps(line(entry, event, outcome, metered), option=_OPTIONS))


def line(
    entry: HTTPAccessLogEntry, event: Finished, outcome: Outcome | None, metered: Metered | None
) -> dict[str, object]:
    """The fields of a line. All are always there; those that do not apply are null."""
    common, request, response = entry.common_properties, entry.request, entry.response
    story, usage = _story(common), event.usage
    answered = common.HasField("time_to_first_upstream_rx_byte")
    return {
        "time": datetime.fromtimestamp(common.start_time.seconds + common.start_time.nanos / 1e9, timezone.utc),
        "request_id": request.request_id[:_LONGEST] or None,
        "trace_id": _trace_id(entry),
        "tenant": story.tenant or None,
        "key_id": story.key or None,
        "endpoint": story.endpoint or None,
        "model": story.model or None,
        "upstream_model": story.upstream_model or None,
        "provider": story.provider or None,
        "stream": story.stream,
        "status": event.status or None,
        "code": story.code or ("policy_unavailable" if story is UNTOLD and common.route_name == "closed" else None),
        "flags": _flags(common),
        "details": response.response_code_details[:_LONGEST] or None,
        "cache": story.cache or None,
        "reason": story.reason or ("blind" if story is UNTOLD and common.route_name == "kv-blind" else None),
        "replica": story.replica or None,
        "served_by": event.served,
        "attempts": common.upstream_request_attempt_count,
        "prompt_tokens_estimated": story.prompt_tokens,
        "prompt_tokens": usage.prompt_tokens,
        "matched_tokens": story.matched_tokens,
        "restored_tokens": story.restored_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "usage_estimated": metered.estimated if metered is not None else None,
        "cost_usd": metered.cost_nusd / _NUSD_PER_USD if metered is not None else 0.0,
        "wait_s": story.wait_s,
        "predicted_ttft_s": story.predicted_ttft_s,
        "ttft_s": _rounded(outcome.ttft_s) if outcome is not None else None,
        "gateway_s": story.gateway_s,
        "first_byte_s": _seconds(common.time_to_first_downstream_tx_byte),
        "upstream_s": _seconds(common.time_to_last_upstream_rx_byte) if answered else None,
        "duration_s": _seconds(common.time_to_last_downstream_tx_byte) or _seconds(common.duration),
        "request_bytes": request.request_body_bytes,
        "response_bytes": response.response_body_bytes,
    }


def _story(common: AccessLogCommon) -> Story:
    noted = common.metadata.filter_metadata.get("kvgate")
    return Story.unpack(noted.fields[KEY].string_value) if noted is not None and KEY in noted.fields else UNTOLD


def _trace_id(entry: HTTPAccessLogEntry) -> str | None:
    """Of the gateway's own span, else of the client's. Text of any other shape is not taken for one."""
    own = entry.common_properties.custom_tags.get("trace_id", "")
    if _TRACE_ID.fullmatch(own):
        return str(own)
    client = _TRACEPARENT.fullmatch(entry.request.request_headers.get("traceparent", ""))
    return client[1] if client else None


def _flags(common: AccessLogCommon) -> list[str]:
    """What was out of the ordinary, in the words of Envoy's API: `no_healthy_upstream`, `upstream_request_timeout`."""
    return [field.name for field, _ in common.response_flags.ListFields()] if common.HasField("response_flags") else []


def _seconds(duration: Duration) -> float:
    return float(round(duration.seconds + duration.nanos / 1e9, 6))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)

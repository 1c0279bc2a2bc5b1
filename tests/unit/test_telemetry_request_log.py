"""What the line of a request says, given what Envoy's access log does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.events import Finished, Usage
from extproc.fleet.feeds.access_log import finished
from extproc.fleet.outcome import Outcome
from extproc.metering.metering import End, Metered
from extproc.metering.story import Story
from extproc.telemetry.request_log import RequestLog

STORY = Story("/v1/messages", "acme", "0123456789ab", "m", "org/m", "p", True, "miss", "", "a", "warm", 90, 64, 16)


def entry(story: str | None = None, **noted: str) -> HTTPAccessLogEntry:
    log = HTTPAccessLogEntry()
    log.request.request_id = "r"
    log.response.response_code.value = 200
    log.common_properties.start_time.FromJsonString("2026-11-22T10:00:00.25Z")
    fields = log.common_properties.metadata.filter_metadata["kvgate"]
    fields.update({"ticket": "t", **noted, **({"story": story} if story is not None else {})})
    return log


def said(log: HTTPAccessLogEntry, event: Finished | None = None, *told: Outcome | Metered) -> dict[str, object]:
    lines: list[bytes] = []
    request_log = RequestLog(lines.append)
    for each in told:
        (request_log.outcome if isinstance(each, Outcome) else request_log.metered)(each)  # type: ignore[arg-type]
    request_log.ended(log, event or finished(log, {}, 1.0))
    (line,) = lines
    assert line.endswith(b"\n")
    return dict(json.loads(line))


def outcome(ticket: str) -> Outcome:
    return Outcome(1.0, "m", "a", True, 90, 80, 80, 0, 0.2, 0.25, 0, Usage(), ticket)


def metered(usage: Usage) -> Metered:
    end = End(200, 1, usage, True, 10, 1.0, 0.9)
    return Metered("m", "p", "acme", True, end, 100, 64, 7, 1_500_000, False)


def test_the_story_of_the_processor_is_in_the_line() -> None:
    line = said(entry(STORY.pack()))
    assert line["time"] == "2026-11-22T10:00:00.250000Z"
    assert (line["tenant"], line["key_id"], line["upstream_model"]) == ("acme", "0123456789ab", "org/m")
    assert (line["replica"], line["reason"], line["matched_tokens"], line["restored_tokens"]) == ("a", "warm", 64, 16)
    assert line["prompt_tokens_estimated"] == 90


def test_what_came_of_the_request_is_taken_from_those_who_learned_and_billed() -> None:
    log = entry(STORY.pack())
    event = finished(log, {}, 1.0)
    line = said(log, event, outcome("t"), metered(event.usage))
    assert (line["ttft_s"], line["cost_usd"], line["usage_estimated"]) == (0.25, 0.0015, False)


def test_what_is_left_of_another_request_is_not_taken_for_this_one() -> None:
    line = said(entry(STORY.pack()), None, outcome("another"), metered(Usage(1, 2, 3)))
    assert (line["ttft_s"], line["cost_usd"], line["usage_estimated"]) == (None, 0.0, None)


def test_a_request_that_went_past_the_processor_is_blind() -> None:
    log = entry()
    log.common_properties.route_name = "kv-blind"
    line = said(log)
    assert (line["reason"], line["tenant"]) == ("blind", None)
    assert said(entry(Story(tenant="acme").pack()))["reason"] is None


@pytest.mark.parametrize("text", ["", "[", "{}", "7", '"abc"', json.dumps([1] * 40)])
def test_a_story_that_cannot_be_read_is_no_story(text: str) -> None:
    assert said(entry(text))["endpoint"] in (None, "a", 1)  # a string or a list is read as far as it goes


def test_a_trace_id_is_taken_from_the_gateways_span_then_from_the_clients_and_never_from_other_text() -> None:
    log = entry()
    log.request.request_headers["traceparent"] = f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert said(log)["trace_id"] == "ab" * 16
    log.common_properties.custom_tags["trace_id"] = "12" * 16
    assert said(log)["trace_id"] == "12" * 16
    for text in ("sk-secret", f"00-{'AB' * 16}-{'cd' * 8}-01", f"00-{'ab' * 16}-{'cd' * 8}-01-sk-secret"):
        log = entry()
        log.request.request_headers["traceparent"] = text
        assert said(log)["trace_id"] is None


def test_a_probe_that_is_answered_leaves_no_line_and_one_that_is_not_does() -> None:
    lines: list[bytes] = []
    log = entry()
    log.request.path = "/readyz?from=kubelet"
    RequestLog(lines.append).ended(log, finished(log, {}, 1.0))
    assert not lines
    log.response.response_code.value = 503
    RequestLog(lines.append).ended(log, finished(log, {}, 1.0))
    assert len(lines) == 1


def test_flags_are_in_the_words_of_envoys_api() -> None:
    log = entry()
    log.common_properties.response_flags.no_healthy_upstream = True
    assert said(log)["flags"] == ["no_healthy_upstream"]


@given(st.binary(max_size=300))
def test_every_entry_has_the_same_fields(data: bytes) -> None:
    try:
        log = HTTPAccessLogEntry.FromString(data)
    except Exception:  # not a message at all: gRPC refuses it before us
        return
    if not 0 <= log.common_properties.start_time.seconds < 253402300800:
        log.common_properties.ClearField("start_time")
    log.request.path = ""
    assert said(log).keys() == said(entry()).keys()


def test_the_documentation_has_every_field_in_order() -> None:
    text = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(said(entry()))

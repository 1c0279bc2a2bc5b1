"""Spans on their way to a collector: what they say, and that nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from extproc.telemetry.tracing import Tracing

PARENT = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=value")


class Kept(SpanExporter):
    """A collector that keeps spans; it hangs until `go`, and fails while `failing`."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.asked, self.go = threading.Event(), threading.Event()
        self.failing = False
        self.go.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.go.wait()
        if self.failing:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS


def record(tracing: Tracing, number: int = 1, *, failed: bool = False, parent: tuple[str, str] = PARENT) -> None:
    steps = [("understand", 10, 20), ("route", 20, 40)]
    tracing.record(parent, 5, 50, steps, {"kvgate.prompt_tokens": number}, failed)


def test_a_request_is_a_span_below_envoys_and_a_span_for_each_step() -> None:
    kept = Kept()
    tracing = Tracing(kept, "gate")
    record(tracing, failed=True)
    tracing.close()
    spans = {span.name: span for span in kept.spans}
    decide = spans["kvgate.decide"]
    assert decide.context and decide.parent
    assert f"{decide.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{decide.parent.span_id:016x}" == "b7ad6b7169203331"
    assert decide.context.trace_state["vendor"] == "value"
    assert (decide.start_time, decide.end_time) == (5, 50)
    assert decide.attributes == {"kvgate.prompt_tokens": 1}
    assert decide.resource.attributes["service.name"] == "gate"
    assert not decide.status.is_ok
    route = spans["kvgate.route"]
    assert route.parent and route.parent.span_id == decide.context.span_id
    assert (route.start_time, route.end_time) == (20, 40)
    assert tracing.sent == 1


def test_while_the_collector_hangs_requests_beyond_the_bound_are_dropped_and_nobody_waits() -> None:
    kept = Kept()
    kept.go.clear()
    tracing = Tracing(kept, "gate", most=4, every_s=0.01)
    record(tracing)
    kept.asked.wait()
    for number in range(10):
        record(tracing, number)
    assert tracing.dropped == 6
    kept.go.set()
    tracing.close()
    assert (tracing.sent, tracing.dropped) == (5, 6)


def test_what_the_collector_does_not_take_is_counted_and_the_next_is_sent() -> None:
    kept = Kept()
    kept.failing = True
    tracing = Tracing(kept, "gate", every_s=3600)
    record(tracing)
    tracing.close()
    assert (tracing.sent, tracing.dropped) == (0, 1)


def test_a_hanging_collector_does_not_keep_the_processor_from_stopping() -> None:
    kept = Kept()
    kept.go.clear()
    tracing = Tracing(kept, "gate", every_s=0.01)
    record(tracing)
    kept.asked.wait()
    tracing.close(within_s=0.01)
    kept.go.set()


def test_a_trace_context_that_is_none_begins_a_trace_of_its_own() -> None:
    kept = Kept()
    tracing = Tracing(kept, "gate")
    record(tracing, parent=("no trace context", "=,=;"))
    tracing.close()
    assert tracing.sent == 1
    assert kept.spans[-1].parent is None

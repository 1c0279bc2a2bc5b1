"""Spans of the processor, sent to an OpenTelemetry collector. Imported only where one is configured.

A request pays for a place in a bounded queue. Spans are made and sent by a thread of their own, a few at a time, since
whatever Python does there the requests wait for. While the collector does not take them, the queue fills and what is
beyond it is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

log = logging.getLogger(__name__)

_SEND_WITHIN_S = 2.0
_AT_ONCE = 8
"""Requests in one message to the collector: each takes about 0.15 ms to encode, for which the others wait."""
_MESSAGES_AT_A_TIME = 32
"""Then a pause: about 500 requests a second are recorded, a tenth of the processor's time, and the rest is dropped."""

Attribute = str | int | float | bool


class Request(NamedTuple):
    """What is known of a traced request; see `gateway/traced.py`."""

    parent: tuple[str, str]
    began_ns: int
    ended_ns: int
    steps: Sequence[tuple[str, int, int]]
    attributes: Mapping[str, Attribute]
    failed: bool


class Tracing:
    """Takes requests in and exports their spans: `kvgate.decide`, and below it one for each step.

    Args:
        exporter: to the collector.
        most: requests that may wait.
        every_s: how often they are sent.

    Attributes:
        sent, dropped: requests, so far.
    """

    def __init__(self, exporter: SpanExporter, service_name: str, *, most: int = 2048, every_s: float = 0.5) -> None:
        self.sent = self.dropped = 0
        self._exporter = exporter
        self._most = most
        self._every_s = every_s
        self._waiting: deque[Request] = deque()
        self._made: list[ReadableSpan] = []
        self._propagator = TraceContextTextMapPropagator()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create({SERVICE_NAME: service_name}), shutdown_on_exit=False
        )
        provider.add_span_processor(_Into(self._made))
        self._tracer = provider.get_tracer("kvgate")
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._thread.start()

    def record(
        self,
        parent: tuple[str, str],
        began_ns: int,
        ended_ns: int,
        steps: Sequence[tuple[str, int, int]],
        attributes: Mapping[str, Attribute],
        failed: bool,
    ) -> None:
        """Takes a request in, unless too many wait already. See `gateway/traced.py` for what its arguments mean."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(Request(parent, began_ns, ended_ns, steps, attributes, failed))

    def close(self, within_s: float = 2.0) -> None:
        """Sends what waits, unless that takes longer."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._send_waiting(_MESSAGES_AT_A_TIME)
        self._send_waiting(self._most)
        self._exporter.shutdown()

    def _send_waiting(self, messages: int) -> None:
        while self._waiting and messages:
            messages -= 1
            some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if not self._send(some):
                self.dropped += len(some)
                return
            self.sent += len(some)

    def _send(self, requests: Sequence[Request]) -> bool:
        try:
            for request in requests:
                self._make(request)
            taken = self._exporter.export(tuple(self._made)) is SpanExportResult.SUCCESS
        except Exception:  # of a library, or of what a client sent as its trace context: worth a line, never a thread
            log.exception("spans could not be exported")
            return False
        finally:
            self._made.clear()
        if taken is self._failing:
            self._failing = not taken
            log.warning("the trace collector %s", "takes spans again" if taken else "does not take spans")
        return taken

    def _make(self, request: Request) -> None:
        traceparent, tracestate = request.parent
        context = self._propagator.extract({"traceparent": traceparent, "tracestate": tracestate})
        span = self._tracer.start_span(
            "kvgate.decide", context, SpanKind.SERVER, request.attributes, start_time=request.began_ns
        )
        if request.failed:
            span.set_status(StatusCode.ERROR)
        within = set_span_in_context(span)
        for name, began_ns, ended_ns in request.steps:
            self._tracer.start_span(f"kvgate.{name}", within, start_time=began_ns).end(ended_ns)
        span.end(request.ended_ns)


class _Into(SpanProcessor):
    """Puts spans that have ended into a list."""

    def __init__(self, made: list[ReadableSpan]) -> None:
        self._made = made

    def on_end(self, span: ReadableSpan) -> None:
        self._made.append(span)


def collector(endpoint: str, protocol: str) -> SpanExporter:
    """An exporter that gives up soon.

    Args:
        endpoint: the origin for `grpc`; for `http`, the address that takes spans.
        protocol: `grpc` or `http`.
    """
    # Each would complain of each failed attempt; that the collector is away is said once, above.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp(endpoint=endpoint, timeout=_SEND_WITHIN_S)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

    return OverGrpc(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=_SEND_WITHIN_S)

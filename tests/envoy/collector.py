"""An OpenTelemetry collector for tests: takes spans over gRPC, keeps them, and hangs when told to."""

from __future__ import annotations

import threading
from concurrent import futures
from types import TracebackType

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.ports import free_port


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens from `with` on.

    Attributes:
        spans: all that have come.
        raw: as they came, serialised.
        answering: cleared, nothing is answered until it is set again.
        held: is set while somebody waits for an answer.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.spans: list[Span] = []
        self.raw = b""
        self.answering = threading.Event()
        self.answering.set()
        self.held = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Collector:
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()

    def die(self) -> None:
        """Is gone from now on."""
        self.answering.set()
        self._server.stop(0).wait()

    def Export(  # noqa: N802 - named by the API
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        if not self.answering.is_set():
            self.held.set()
            self.answering.wait()
        self.raw += request.SerializeToString()
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace, by name; of several with one name, the last."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


def attributes(span: Span) -> dict[str, object]:
    """Of a span, as plain values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}

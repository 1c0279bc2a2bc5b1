"""A processor that does as a test tells it: ext_proc, access log and ADS on one server, as the real one has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as ext_proc_grpc
from envoy.type.v3.http_status_pb2 import HttpStatus

from extproc.control.ads import AggregatedDiscovery

DEADLINE_S = 20.0
WATCHING = ProcessingMode(
    request_body_mode=ProcessingMode.BUFFERED,
    response_header_mode=ProcessingMode.SKIP,
    response_body_mode=ProcessingMode.STREAMED,
)
BIG_MESSAGE = [("grpc.max_receive_message_length", 128 << 20)]


@dataclass
class Decision:
    """What the processor double answers to a request's body (or to its headers, when there is no body)."""

    cluster: str | None = None
    endpoints: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    immediate: tuple[int, dict[str, str], bytes] | None = None


@dataclass
class ProcessorDouble:
    """ext_proc, access log and ADS on one server, as the real processor has them.

    Args:
        decide: headers and body -> decision.
        hold: the processor hears and does not answer.
        watch: it asks for the response's body, and does not answer that.
    """

    target: str
    decide: Callable[[dict[str, str], bytes], Decision] = lambda headers, body: Decision()
    ads: AggregatedDiscovery = field(default_factory=AggregatedDiscovery)
    entries: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    seen: list[dict[str, str]] = field(default_factory=list)
    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    hold: bool = False
    watch: bool = False
    server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self.server = grpc.aio.server(options=BIG_MESSAGE)
        ext_proc_grpc.add_ExternalProcessorServicer_to_server(_ExtProc(self), self.server)
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(_AccessLog(self.entries), self.server)
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self.ads, self.server)
        self.server.add_insecure_port(self.target)
        await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(None)

    async def entry(self) -> Any:
        """The next access-log entry."""
        return await asyncio.wait_for(self.entries.get(), DEADLINE_S)


class _ExtProc(ext_proc_grpc.ExternalProcessorServicer):
    def __init__(self, double: ProcessorDouble) -> None:
        self._double = double

    async def Process(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        headers: dict[str, str] = {}
        async for request in requests:
            phase = request.WhichOneof("request")
            self._double.heard.put_nowait(phase)
            if self._double.hold or phase == "response_body":
                await asyncio.Event().wait()
            if phase == "request_headers":
                headers = {h.key: h.raw_value.decode() for h in request.request_headers.headers.headers}
                self._double.seen.append(headers)
                if request.request_headers.end_of_stream:
                    yield _response("request_headers", self._double.decide(headers, b""))
                else:
                    yield ext_proc.ProcessingResponse(
                        request_headers=ext_proc.HeadersResponse(),
                        mode_override=WATCHING if self._double.watch else None,
                    )
            elif phase == "request_body":
                yield _response("request_body", self._double.decide(headers, request.request_body.body))


def _response(phase: str, decision: Decision) -> ext_proc.ProcessingResponse:
    if decision.immediate is not None:
        status, headers, body = decision.immediate
        reply = ext_proc.ProcessingResponse(
            immediate_response=ext_proc.ImmediateResponse(
                status=HttpStatus(code=status), headers=_set_headers(headers), body=body
            )
        )
    else:
        headers = dict(decision.headers)
        if decision.cluster is not None:
            headers["x-kvgate-cluster"] = decision.cluster
        common = ext_proc.CommonResponse(header_mutation=_set_headers(headers), clear_route_cache=True)
        kind = {"request_headers": ext_proc.HeadersResponse, "request_body": ext_proc.BodyResponse}[phase]
        reply = ext_proc.ProcessingResponse(**{phase: kind(response=common)})
    if decision.endpoints:
        reply.dynamic_metadata.update({"envoy.lb": {"x-gateway-destination-endpoint": ",".join(decision.endpoints)}})
    if decision.metadata:
        reply.dynamic_metadata.update({"kvgate": decision.metadata})
    return reply


def _set_headers(headers: dict[str, str]) -> ext_proc.HeaderMutation:
    return ext_proc.HeaderMutation(
        set_headers=[
            HeaderValueOption(
                header=HeaderValue(key=key, raw_value=value.encode()),
                append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for key, value in headers.items()
        ]
    )


class _AccessLog(als_pb2_grpc.AccessLogServiceServicer):
    def __init__(self, entries: asyncio.Queue[Any]) -> None:
        self._entries = entries

    async def StreamAccessLogs(self, messages: AsyncIterator[Any], context: Any) -> Any:  # noqa: N802
        async for message in messages:
            for entry in message.http_logs.log_entry:
                self._entries.put_nowait(entry)
        return als_pb2.StreamAccessLogsResponse()

"""ext_proc answers as bytes. Source: envoy/service/ext_proc/v3/external_processor.proto of Envoy 1.40.

Answers that never vary are serialised once; the others are built per request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeadersResponse,
    ImmediateResponse,
    ProcessingResponse,
)
from google.protobuf.struct_pb2 import Struct

from extproc.api.errors import GatewayError
from extproc.config.engines import RANK_HEADER

CLUSTER_HEADER = "x-kvgate-cluster"
ENDPOINT_KEY = "x-gateway-destination-endpoint"
AUTHORIZATION_HEADER = "x-kvgate-upstream-authorization"
"""What the route sends as `authorization`; the client's own goes no further than the gateway."""
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD

Note = str | float | bool | Mapping[str, float]
Notes = Mapping[str, Note]
"""Dynamic metadata of the namespace `kvgate`, for envoy.yaml, reply.lua and the access log."""


def _continue_headers(*, response_headers: bool, response_body: bool) -> bytes:
    mode = ProcessingMode(
        request_header_mode=ProcessingMode.SEND,
        request_body_mode=ProcessingMode.BUFFERED,
        response_header_mode=ProcessingMode.SEND if response_headers else ProcessingMode.SKIP,
        response_body_mode=ProcessingMode.STREAMED if response_body else ProcessingMode.NONE,
        request_trailer_mode=ProcessingMode.SKIP,
        response_trailer_mode=ProcessingMode.SKIP,
    )
    return bytes(ProcessingResponse(request_headers=HeadersResponse(), mode_override=mode).SerializeToString())


CONTINUE_HEADERS: bytes = ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()
"""Send the body next."""
CONTINUE_HEADERS_TIMED = _continue_headers(response_headers=False, response_body=True)
"""Send the body next, and later the response chunk by chunk, until the stream is closed."""
CONTINUE_HEADERS_WHOLE = _continue_headers(response_headers=True, response_body=True)
"""Likewise, and the headers of the response before it."""
CONTINUE_BODY: bytes = ProcessingResponse(request_body=BodyResponse()).SerializeToString()
"""Go on without a choice of ours: the request takes the KV-blind route."""
CONTINUE_RESPONSE_HEADERS: bytes = ProcessingResponse(response_headers=HeadersResponse()).SerializeToString()
CONTINUE_RESPONSE: bytes = ProcessingResponse(response_body=BodyResponse()).SerializeToString()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes and what must change on the way.

    Args:
        cluster: the Envoy cluster.
        endpoints: ``ip:port``, best first; empty when the cluster holds one replica alone.
        path: the upstream path, if it differs from the client's.
        authorization: for the replica, if it wants one.
        body: replaces the client's body, if set.
        rank: the data-parallel rank that is to serve, of whichever replica it comes to be; None: they have but one.
    """

    cluster: str
    endpoints: tuple[str, ...]
    path: str | None = None
    authorization: str | None = None
    body: bytes | None = None
    rank: int | None = None


def routed(destination: Destination, notes: Notes) -> bytes:
    """The answer to a request body: go there."""
    endpoints = ",".join(destination.endpoints)
    headers = [(CLUSTER_HEADER, destination.cluster)]
    if endpoints:
        headers.append((ENDPOINT_KEY, endpoints))
    if destination.path is not None:
        headers.append((":path", destination.path))
    if destination.authorization is not None:
        headers.append((AUTHORIZATION_HEADER, destination.authorization))
    if destination.rank is not None:
        headers.append((RANK_HEADER, str(destination.rank)))
    if destination.body is not None:
        headers.append(("content-length", str(len(destination.body))))  # Envoy refuses a body of another length
    response = ProcessingResponse()
    common = response.request_body.response
    common.clear_route_cache = True
    _set_headers(common, headers)
    if destination.body is not None:
        common.body_mutation.body = destination.body
    fields = response.dynamic_metadata.fields
    if endpoints:
        fields["envoy.lb"].struct_value.fields[ENDPOINT_KEY].string_value = endpoints
    _note(fields["kvgate"].struct_value, notes)
    return bytes(response.SerializeToString())


def reply(
    status: int,
    body: bytes,
    headers: Iterable[tuple[str, str]] = (),
    *,
    content_type: str = "application/json",
    notes: Notes | None = None,
) -> bytes:
    """An answer that the gateway gives itself."""
    response = ProcessingResponse()
    immediate: ImmediateResponse = response.immediate_response
    immediate.status.code = status
    immediate.body = body
    immediate.details = "kvgate"
    for key, value in (("content-type", content_type), *headers):
        option = immediate.headers.set_headers.add(append_action=_OVERWRITE)
        option.header.key = key
        option.header.raw_value = value.encode()
    if notes:
        _note(response.dynamic_metadata.fields["kvgate"].struct_value, notes)
    return bytes(response.SerializeToString())


def refuse(error: GatewayError, notes: Notes | None = None) -> bytes:
    """An error of ours, in OpenAI's shape."""
    return reply(error.status, error.body(), error.headers, notes=notes)


def wait(seconds: float) -> bytes:
    """Not an answer yet: Envoy is to wait longer for it than `message_timeout`."""
    response = ProcessingResponse()
    response.override_message_timeout.FromMilliseconds(round(seconds * 1000))
    return bytes(response.SerializeToString())


def _note(struct: Struct, notes: Notes) -> None:
    fields = struct.fields
    for key, value in notes.items():
        if isinstance(value, str):
            fields[key].string_value = value
        elif isinstance(value, bool):
            fields[key].bool_value = value
        elif isinstance(value, (int, float)):
            fields[key].number_value = value
        else:
            _note(fields[key].struct_value, value)


def _set_headers(common: CommonResponse, headers: list[tuple[str, str]]) -> None:
    for key, value in headers:
        option = common.header_mutation.set_headers.add(append_action=_OVERWRITE)
        option.header.key = key
        option.header.raw_value = value.encode()

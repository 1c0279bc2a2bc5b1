"""ext_proc answers as bytes. Source: envoy/service/ext_proc/v3/external_processor.proto of Envoy 1.40.

Answers that never vary are serialised once; the others are built per request.
"""

from __future__ import annotations

from collections.abc import Iterable
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

from extproc.api.errors import GatewayError

CLUSTER_HEADER = "x-kvgate-cluster"
ENDPOINT_KEY = "x-gateway-destination-endpoint"
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD

_KEEP_BODY = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.BUFFERED,
    response_header_mode=ProcessingMode.SKIP,
    response_body_mode=ProcessingMode.STREAMED,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SKIP,
)

CONTINUE_HEADERS: bytes = ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()
"""Send the body next."""
CONTINUE_HEADERS_TIMED: bytes = ProcessingResponse(
    request_headers=HeadersResponse(), mode_override=_KEEP_BODY
).SerializeToString()
"""Send the body next, and later the first chunk of the response."""
CONTINUE_BODY: bytes = ProcessingResponse(request_body=BodyResponse()).SerializeToString()
"""Go on without a choice of ours: the request takes the KV-blind route."""
CONTINUE_RESPONSE: bytes = ProcessingResponse(response_body=BodyResponse()).SerializeToString()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes and what must change on the way.

    Args:
        cluster: the Envoy cluster.
        endpoints: ``ip:port``, best first; empty when the cluster holds one replica alone.
        path: the upstream path, if it differs from the client's.
        authorization: replaces the client's header, if set.
        body: replaces the client's body, if set.
    """

    cluster: str
    endpoints: tuple[str, ...]
    path: str | None = None
    authorization: str | None = None
    body: bytes | None = None


def routed(destination: Destination, ticket: str, predicted_cached_tokens: int, receipt: str = "") -> bytes:
    """The answer to a request body: go there.

    Args:
        receipt: what the client is told of the decision; empty: nothing.
    """
    endpoints = ",".join(destination.endpoints)
    headers = [(CLUSTER_HEADER, destination.cluster)]
    if endpoints:
        headers.append((ENDPOINT_KEY, endpoints))
    if destination.path is not None:
        headers.append((":path", destination.path))
    if destination.authorization is not None:
        headers.append(("authorization", destination.authorization))
    response = ProcessingResponse()
    common = response.request_body.response
    common.clear_route_cache = True
    _set_headers(common, headers)
    if destination.body is not None:
        common.body_mutation.body = destination.body
    fields = response.dynamic_metadata.fields
    if endpoints:
        fields["envoy.lb"].struct_value.fields[ENDPOINT_KEY].string_value = endpoints
    own = fields["kvgate"].struct_value.fields
    own["ticket"].string_value = ticket
    own["predicted_cached_tokens"].string_value = str(predicted_cached_tokens)
    if receipt:
        own["receipt"].string_value = receipt
    return bytes(response.SerializeToString())


def reply(status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """An answer that the gateway gives itself, as JSON."""
    response = ProcessingResponse()
    immediate: ImmediateResponse = response.immediate_response
    immediate.status.code = status
    immediate.body = body
    immediate.details = "kvgate"
    for key, value in (("content-type", "application/json"), *headers):
        option = immediate.headers.set_headers.add(append_action=_OVERWRITE)
        option.header.key = key
        option.header.raw_value = value.encode()
    return bytes(response.SerializeToString())


def refuse(error: GatewayError) -> bytes:
    """An error of ours, in OpenAI's shape."""
    return reply(error.status, error.body(), error.headers)


def _set_headers(common: CommonResponse, headers: list[tuple[str, str]]) -> None:
    for key, value in headers:
        option = common.header_mutation.set_headers.add(append_action=_OVERWRITE)
        option.header.key = key
        option.header.raw_value = value.encode()

"""What the processor does with the reply of one request: nothing, time its first chunk, or read all of it.

Which of these is possible is settled with the request headers, before the body is known; which one is done, with the
request body. A reply that is read whole passes on to the client chunk by chunk meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy.service.ext_proc.v3.external_processor_pb2 import HttpBody, HttpHeaders

from extproc.api.requests import Endpoint, InferenceRequest
from extproc.fleet.events import FirstToken
from extproc.gateway import wire
from extproc.gateway.capture import Capture

if TYPE_CHECKING:
    from extproc.gateway.gateway import Gateway

_FIRST_CHUNK_IS_FIRST_TOKEN = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS})
"""Streams of the other endpoints open with an event that says only that they have begun."""


class Response:
    """The reply, as far as it comes by.

    Attributes:
        timed: the first chunk tells when the prefill ended.
        capture: where the reply goes, if it is to be kept.
        is_sent: whether the request went to a replica.
    """

    def __init__(self, gateway: Gateway, ticket: str) -> None:
        self.timed = False
        self.capture: Capture | None = None
        self.is_sent = False
        self._gateway = gateway
        self._ticket = ticket

    @property
    def done(self) -> bool:
        """Whether nothing more of the reply is wanted."""
        return not self.timed and self.capture is None

    def want(self, endpoint: Endpoint, *, caching: bool) -> bytes:
        """The answer to the request headers: what Envoy is to send.

        Args:
            caching: whether the reply may turn out to be one to keep.
        """
        self.timed = endpoint in _FIRST_CHUNK_IS_FIRST_TOKEN and self._gateway.first_token_sampler.take()
        if caching:
            return wire.CONTINUE_HEADERS_WHOLE
        return wire.CONTINUE_HEADERS_TIMED if self.timed else wire.CONTINUE_HEADERS

    def keep(self, capture: Capture) -> None:
        """The reply is to be kept."""
        self.capture = capture

    def sent(self, request: InferenceRequest) -> None:
        """The request goes to a replica."""
        self.is_sent = True
        self.timed = self.timed and request.stream

    def headers(self, headers: HttpHeaders) -> bytes:
        """The reply begins. One to a request that was not sent is Envoy's own: its client hung up, say."""
        if not self.is_sent:
            self.close()
        if self.capture is not None and not _can_be_kept(headers):
            self.capture.refused()
            self.capture = None
        if headers.end_of_stream:
            self.close()
        return wire.CONTINUE_RESPONSE_HEADERS

    def chunk(self, body: HttpBody) -> bytes:
        """The next part of it."""
        if not self.is_sent:
            self.close()
        if self.timed:
            self.timed = False
            self._gateway.fleet.apply(FirstToken(self._gateway.clock.now(), self._ticket))
        if self.capture is not None:
            self.capture.feed(body.body)
            if body.end_of_stream:
                self.capture.finish()
            if body.end_of_stream or self.capture.given_up:
                self.capture = None
        return wire.CONTINUE_RESPONSE

    def close(self) -> None:
        """Nothing more will come."""
        self.timed = False
        if self.capture is not None:
            self.capture.abandon()
            self.capture = None


def _can_be_kept(headers: HttpHeaders) -> bool:
    ok = False
    for header in headers.headers.headers:
        if header.key == ":status":
            ok = (header.raw_value or header.value.encode()) == b"200"
        elif header.key == "content-encoding":
            return False
    return ok

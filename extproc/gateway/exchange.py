"""One HTTP request, from its headers to the end of its ext_proc stream. Sans-I/O: messages in, answers out.

Envoy sends `request_headers`, then (for inference paths) `request_body` with the whole body, and of a timed stream the
first chunk of the response. Each message gets exactly one answer; after the last one that is needed `done` is set and
the stream may be closed: Envoy then goes on alone, and its access log reports the end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest

from extproc.api import paths
from extproc.api.errors import BadRequest, GatewayError, NoReplica
from extproc.api.models import model_list, one_model
from extproc.api.paths import OneModel, Options, Page
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.config.topology import Model, Target
from extproc.fleet.events import Finished, FirstToken, Routed
from extproc.gateway import wire
from extproc.gateway.receipt import receipt_header
from extproc.prefix import Chain
from extproc.routing import Ranking

if TYPE_CHECKING:
    from extproc.gateway.gateway import Gateway

log = logging.getLogger(__name__)

_FIRST_CHUNK_IS_FIRST_TOKEN = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS})
"""Streams of the other endpoints open with an event that says only that they have begun."""


class Exchange:
    """What is known of one request so far; each phase adds to it.

    Args:
        gateway: what all exchanges share.
        ticket: names the request in events and in Envoy's access log.
    """

    endpoint: Endpoint
    request: InferenceRequest
    model: Model
    chain: Chain
    ranking: Ranking
    target: Target
    destination: wire.Destination

    def __init__(self, gateway: Gateway, ticket: str) -> None:
        self.directory = gateway.catalog.current  # the configuration this request lives under, whatever changes
        self.ticket = ticket
        self.request_id = ""
        self.method = ""
        self.path = ""
        self.session = ""
        self.explain = False
        self.body = b""
        self.done = False
        self._gateway = gateway
        self._timed = False
        self._unreported = False

    async def receive(self, message: ProcessingRequest) -> bytes:
        """Takes one message of the stream and gives its answer. Never raises: a fault of ours costs the choice only."""
        phase = message.WhichOneof("request")
        try:
            if phase == "request_headers":
                return await self._request_headers(message.request_headers)
            if phase == "request_body":
                return await self._request_body(message.request_body.body)
            return self._response_body()
        except GatewayError as error:
            self.done = True
            return wire.refuse(error)
        except Exception:
            log.exception("request %s: routed blind after a fault in the processor", self.request_id)
            self.done = True
            return wire.CONTINUE_HEADERS if phase == "request_headers" else wire.CONTINUE_BODY

    def delivered(self) -> None:
        """The latest answer has reached Envoy: from here on its access log reports the end of the request."""
        self._unreported = False

    def close(self) -> None:
        """The stream has ended. A routing answer that never reached Envoy is taken back."""
        if self._unreported:
            self._unreported = False
            self._gateway.fleet.apply(Finished(self._gateway.clock.now(), self.ticket))

    async def _request_headers(self, headers: HttpHeaders) -> bytes:
        for header in headers.headers.headers:
            if header.key == ":path":
                self.path = _text(header.raw_value or header.value)
            elif header.key == ":method":
                self.method = _text(header.raw_value or header.value)
            elif header.key == "x-request-id":
                self.request_id = _text(header.raw_value or header.value)
            elif header.key == self.directory.routing.session_header:
                self.session = _text(header.raw_value or header.value)
            elif header.key == "x-kvgate-explain":
                self.explain = self.directory.routing.explain and _text(header.raw_value or header.value) == "1"
        route = paths.match(self.method, self.path)
        if not isinstance(route, Endpoint):
            self.done = True
            return self._own_page(route)
        self.endpoint = route
        if headers.end_of_stream:
            raise BadRequest("The request body is empty.")
        self._timed = route in _FIRST_CHUNK_IS_FIRST_TOKEN and self._gateway.first_token_sampler.take()
        return wire.CONTINUE_HEADERS_TIMED if self._timed else wire.CONTINUE_HEADERS

    def _own_page(self, route: Page | OneModel | Options) -> bytes:
        """What needs neither a body nor a replica."""
        models = self.directory.topology.models
        match route:
            case Options(allow):
                return wire.reply(204, b"", [("allow", allow)])
            case OneModel(name):
                return wire.reply(200, one_model(models, name, self._gateway.started_unix_s))
            case Page.MODELS:
                return wire.reply(200, model_list(models, self._gateway.started_unix_s))
            case Page.READYZ:
                return (
                    wire.reply(200, b'{"status":"ready"}')
                    if self._gateway.ready
                    else wire.refuse(NoReplica("No replica is available."))
                )

    async def _request_body(self, body: bytes) -> bytes:
        self.body = body
        for step in self._gateway.steps:
            await step(self)
        self.body = b""  # up to 64 MiB, and a timed exchange lives on until the first token
        receipt = receipt_header(self.ranking) if self.explain else ""
        answer = wire.routed(self.destination, self.ticket, self.ranking.best.matched_tokens, receipt)
        self.done = not (self._timed and self.request.stream)
        self._gateway.fleet.apply(self._routed())
        self._unreported = True
        provider = self.target.providers.get(self.ranking.best.name, "")
        self._gateway.decided(self.model.name, provider, self.target.upstream_model)
        return answer

    def _routed(self) -> Routed:
        best, prompt_tokens = self.ranking.best, self.chain.prompt_tokens
        return Routed(
            at_s=self._gateway.clock.now(),
            ticket=self.ticket,
            request_id=self.request_id,
            replica=best.name,
            chain=self.chain,
            uncached_tokens=best.uncached_tokens(prompt_tokens),
            predicted_ttft_s=best.ttft_s(prompt_tokens),
            elsewhere_tokens=self.ranking.elsewhere_tokens,
            model=self.model.name,
            timed=not self.done,
        )

    def _response_body(self) -> bytes:
        """The first chunk of a timed stream."""
        self.done = True
        self._gateway.fleet.apply(FirstToken(self._gateway.clock.now(), self.ticket))
        return wire.CONTINUE_RESPONSE


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value

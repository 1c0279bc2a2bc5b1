"""One HTTP request, from its headers to the end of its ext_proc stream. Sans-I/O: messages in, answers out.

Envoy sends `request_headers`, then (for inference paths) `request_body` with the whole body, and if the response is
wanted (`gateway/response.py`) its headers and chunks. Each message gets exactly one answer; after the last one that is
needed `done` is set and the stream may be closed: Envoy then goes on alone, and its access log reports the end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest

from extproc.api import paths
from extproc.api.errors import BadRequest, GatewayError, NoReplica
from extproc.api.models import model_list, one_model
from extproc.api.paths import OneModel, Options, Page
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.caching.directives import Directives
from extproc.config.topology import RANK_MARK, Model, Target
from extproc.fleet.events import Finished, Routed
from extproc.gateway import wire
from extproc.gateway.receipt import about, receipt_header
from extproc.gateway.response import Response
from extproc.gateway.steps import hides_usage
from extproc.gateway.tell import tell
from extproc.metering.meter import Meter, Prices
from extproc.metering.story import KEY as STORY
from extproc.prefix import Chain
from extproc.prefix.exact import ExactPrompt
from extproc.prefix.media import Identities
from extproc.routing import Ranking
from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Bill

if TYPE_CHECKING:
    from extproc.gateway.gateway import Gateway
    from extproc.gateway.traced import Laps

log = logging.getLogger(__name__)

_TIME_FOR_THE_REST_S = 5.0  # for the steps after a wait that was in vain: as much as Envoy gives an answer by itself


class Exchange:
    """What is known of one request so far; each phase adds to it.

    Args:
        gateway: what all exchanges share.
        ticket: names the request in events and in Envoy's access log.
        say: sends Envoy a message that is no answer.

    Attributes:
        bill: what limits and budgets reserved for it; it must be settled, by the access log or by `close`.
        notes: what Envoy and its access log are told of it.
        response: what is done with the reply.
        refusal: the error that the gateway answered with.
        cache: what the response caches had to do with it: miss, bypass, exact or semantic; empty before that is known.
        laps: how long its steps take, if it is part of a trace.
        prompt: its tokens, as far as precise mode knows them.
        identities: of its media.
        client_uuids: what clients' names for media stand for.
    """

    endpoint: Endpoint
    request: InferenceRequest
    model: Model
    chain: Chain
    prompt: ExactPrompt | None = None
    ranking: Ranking
    target: Target
    destination: wire.Destination
    refusal: GatewayError | None = None
    cache = ""
    laps: Laps | None = None

    def __init__(self, gateway: Gateway, ticket: str, say: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.directory = gateway.catalog.current  # the configuration this request lives under, whatever changes
        self.ticket = ticket
        self.request_id = ""
        self.method = ""
        self.path = ""
        self.session = ""
        self.explain = False
        self.directives = Directives()
        self.identities = Identities()
        self.client_uuids = gateway.client_uuids
        self.caller: Caller = self.directory.policies.nobody
        self.body = b""
        self.bill: Bill | None = None
        self.notes: dict[str, wire.Note] = {"ticket": ticket}  # or its end is taken for that of another with its id
        self.response = Response(gateway, ticket)
        self.done = False
        self.observer = gateway.observer
        self._gateway = gateway
        self._say = say
        self._began_s = self._routed_s = gateway.clock.now()
        self._credential = self._tenant = ""
        self._unreported = False

    @property
    def spent_s(self) -> float:
        """Since its headers came."""
        return self._gateway.clock.now() - self._began_s

    async def receive(self, message: ProcessingRequest) -> bytes:
        """Takes one message of the stream and gives its answer. Never raises: a fault of ours costs the choice only."""
        phase = message.WhichOneof("request")
        try:
            if phase == "request_headers":
                return self._request_headers(message.request_headers)
            if phase == "request_body":
                return await self._request_body(message.request_body.body)
            if phase == "response_headers":
                answer = self.response.headers(message.response_headers)
            else:
                timed = self.response.timed and self.response.is_sent
                answer = self.response.chunk(message.response_body)
                if timed:
                    self._first_token()
            self.done = self.response.done
            return answer
        except GatewayError as error:
            self.done, self.refusal = True, error
            self.release()
            self.response.close()
            self.observer.refused(error.code or error.type, error.status, self.caller.tenant)
            self._tell()
            return wire.refuse(error, self.notes)
        except Exception:
            log.exception("request %s: routed blind after a fault in the processor", self.request_id)
            self.done = True
            self.release()
            self.response.close()
            return self._go_on_blind(phase)

    def engine_uuid(self, uuid: str) -> str:
        """What the engine is told for a client's name of an image that comes without its data."""
        return self.client_uuids.engine_uuid(self.caller.tenant, self.model.engine_path, uuid)

    async def ask_for_time(self, seconds: float) -> None:
        """The answer to the latest message may take so long."""
        if self._say is not None:
            await self._say(wire.wait(seconds + _TIME_FOR_THE_REST_S))

    def answered(self, cache: str) -> None:
        """An answer given before is given again.

        Args:
            cache: `exact` or `semantic`.
        """
        self.cache = cache
        self._tell()
        self.observer.looked_up(f"{cache}_hit")
        self._gateway.decisions.cached(self, self._gateway.wall(), cache)

    def delivered(self) -> None:
        """The latest answer has reached Envoy: from here on its access log reports the end of the request."""
        if self._unreported:
            self._unreported, self.bill = False, None

    def close(self) -> None:
        """The stream has ended. What was done for a request whose routing answer never reached Envoy is taken back."""
        self.response.close()
        if self._unreported:
            self._unreported = False
            self._gateway.fleet.apply(Finished(self._gateway.clock.now(), self.ticket))
        self.release()

    def release(self) -> None:
        """Nothing was taken of what is reserved."""
        if self.bill is not None:
            self._gateway.ledger.settle(self.bill.used(tokens=0, cost_nusd=0))
            self.bill = None

    def _request_headers(self, headers: HttpHeaders) -> bytes:
        self._read(headers)
        route = paths.match(self.method, self.path)
        if not isinstance(route, Endpoint):
            self.done = True
            return self._own_page(route)
        self.caller = self.directory.policies.authenticate(self._credential, self._tenant)
        self.endpoint = route
        if headers.end_of_stream:
            raise BadRequest("The request body is empty.")
        return self.response.want(route, caching=self._gateway.caches and not self.directives.no_store)

    def _read(self, headers: HttpHeaders) -> None:
        policies, routing = self.directory.policies, self.directory.routing
        for header in headers.headers.headers:
            key, value = header.key, _text(header.raw_value or header.value)
            if key == ":path":
                self.path = value
            elif key == ":method":
                self.method = value
            elif key == "x-request-id":
                self.request_id = value
            elif (key == "authorization" and value) or (key == "x-api-key" and not self._credential):
                self._credential = value
            elif key == "x-kvgate-cache-control":
                self.directives = Directives.parse(value)
            elif key == "x-kvgate-explain":
                self.explain = routing.explain and value == "1"
            elif key == policies.tenant_header:
                self._tenant = value
            elif key == routing.session_header:
                self.session = value

    def _own_page(self, route: Page | OneModel | Options) -> bytes:
        """What needs neither a body nor a replica."""
        if isinstance(route, Options):
            return wire.reply(204, b"", [("allow", route.allow)], notes=self.notes)
        if route is Page.READYZ:
            return (
                wire.reply(200, b'{"status":"ready"}', notes=self.notes)
                if self._gateway.ready
                else wire.refuse(NoReplica("No replica is available."), self.notes)
            )
        self.caller = caller = self.directory.policies.authenticate(self._credential, self._tenant)
        self._tell()
        models = [name for name in self.directory.topology.models if caller.may_ask(name)]
        since_s = self._gateway.started_unix_s
        page = one_model(models, route.model, since_s) if isinstance(route, OneModel) else model_list(models, since_s)
        return wire.reply(200, page, notes=self.notes)

    async def _request_body(self, body: bytes) -> bytes:
        self.body = body
        answer = await self._gateway.pipeline.run(self)
        if answer is not None:
            self.done = True
            self.release()
            return answer
        answer = self._route()
        self.body = b""  # up to 64 MiB, and an exchange whose response is wanted lives on
        return answer

    def _route(self) -> bytes:
        provider = self.target.providers.get(self.ranking.best.name, "")
        self.response.sent(self.request)
        self._note(provider)
        answer = wire.routed(self.destination, self.notes)
        self.done = self.response.done
        gateway = self._gateway
        self._routed_s = gateway.clock.now()
        gateway.fleet.apply(self._routed())
        gateway.decisions.routed(self, gateway.wall(), "miss" if self.response.capture else "bypass")
        self._unreported = True
        self.observer.decided(self.model.name, provider, self.target.upstream_model)
        return answer

    def _first_token(self) -> None:
        provider = self.target.providers.get(self.ranking.best.name, "")
        ttft_s = self._gateway.clock.now() - self._routed_s
        self.observer.first_token(self.endpoint.value, provider, self.model.name, ttft_s)

    def _note(self, provider: str) -> None:
        """Says what Envoy, its script and its access log have to know."""
        request, prices = self.request, Prices.of(self.target)
        meter = Meter(
            self.model.name,
            provider,
            self.caller.tenant,
            request.stream,
            self.chain.prompt_tokens,
            prices,
            self.bill,
            self.endpoint.value,
        )
        notes = self.notes
        notes["meter"] = meter.pack()
        notes["cache"] = self.cache = outcome = "miss" if self.response.capture else "bypass"
        self._tell()
        if self._gateway.caches:
            self.observer.looked_up(outcome)
        notes["predicted_cached_tokens"] = str(self.ranking.best.reused_tokens)
        if self.destination.rank is not None:
            notes["rank_suffix"] = f"{RANK_MARK}{self.destination.rank}"
        if self.explain:
            notes["receipt"] = receipt_header(self.ranking)
        if hides_usage(request):
            notes["hide_usage"] = True
        if not request.stream:
            notes["about"] = about("miss", provider, self.target.upstream_model)
            notes["prices"] = prices._asdict()
            notes["routed_unix_ms"] = self._gateway.wall() * 1000
            notes["spent_ms"] = self.spent_s * 1000

    def _tell(self) -> None:
        """Sends along what the request log will say."""
        if self._gateway.tells:
            self.notes[STORY] = tell(self)

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
            timed=self.response.timed,
            behind=best.behind,
            restored_tokens=best.restored_tokens,
            restore_s=best.restore_s,
            prompt=self.prompt,
        )

    def _go_on_blind(self, phase: str | None) -> bytes:
        """The request is served all the same, unless it is not known whether it may be: with auth, Envoy's route
        `closed` refuses what goes on without a choice of ours."""
        if phase == "request_headers":
            if self.directory.policies.keys is not None:
                return wire.refuse(GatewayError("The gateway failed to check the request."), self.notes)
            return wire.CONTINUE_HEADERS
        return {
            "response_headers": wire.CONTINUE_RESPONSE_HEADERS,
            "response_body": wire.CONTINUE_RESPONSE,
        }.get(phase or "", wire.CONTINUE_BODY)


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value

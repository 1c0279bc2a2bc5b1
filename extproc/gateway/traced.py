"""Exchanges that are part of a trace: what they did and how long each step took is told to whoever records it.

Envoy asks with its own span in the gRPC metadata. Only requests whose span is sampled become traced exchanges; the
others, and all of a gateway that does not trace, take the same way as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from extproc.api.requests import Endpoint
from extproc.gateway.exchange import Exchange
from extproc.gateway.processor import ExternalProcessor
from extproc.gateway.steps import Step

if TYPE_CHECKING:
    from extproc.gateway.gateway import Gateway

Attribute = str | int | float | bool
_OPERATIONS = {Endpoint.COMPLETIONS: "text_completion", Endpoint.EMBEDDINGS: "embeddings"}
"""Of OpenTelemetry's GenAI conventions; the others are all `chat`."""


class Parent(NamedTuple):
    """The span that asked, as W3C trace context."""

    traceparent: str
    tracestate: str


class Record(Protocol):
    """Takes what is known of a traced request. It must not wait and must not raise."""

    def __call__(
        self,
        parent: Parent,
        began_ns: int,
        ended_ns: int,
        steps: Sequence[tuple[str, int, int]],
        attributes: Mapping[str, Attribute],
        failed: bool,
    ) -> None:
        """
        Args:
            began_ns, ended_ns: Unix time.
            steps: name, begin and end of each.
            failed: the gateway answered with an error that is its own fault, or a replica's.
        """
        ...


class Timed:
    """A step that notes on traced exchanges when it was taken."""

    def __init__(self, name: str, step: Step) -> None:
        self._name = name
        self._step = step

    async def __call__(self, exchange: Exchange) -> bytes | None:
        laps = exchange.laps
        if laps is None:
            return await self._step(exchange)
        began_ns = laps.now_ns()
        try:
            return await self._step(exchange)
        finally:
            laps.steps.append((self._name, began_ns, laps.now_ns()))


class Laps:
    """The time that each step of one exchange took.

    Args:
        wall: Unix time in seconds.

    Attributes:
        steps: name, begin and end of each, in Unix nanoseconds.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.steps: list[tuple[str, int, int]] = []
        self.began_ns = self.now_ns()

    def now_ns(self) -> int:
        """Unix time."""
        return int(self._wall() * 1e9)


class TracedExchange(Exchange):
    """An exchange whose decision is recorded when it has reached Envoy, or when it turns out that it will not."""

    def __init__(
        self,
        gateway: Gateway,
        ticket: str,
        say: Callable[[bytes], Awaitable[None]] | None,
        *,
        parent: Parent,
        record: Record,
    ) -> None:
        super().__init__(gateway, ticket, say)
        self.laps: Laps = Laps(gateway.wall)
        self._parent = parent
        self._record: Record | None = record

    def delivered(self) -> None:
        decided = self.done or hasattr(self, "ranking")
        super().delivered()
        if decided:
            self._tell_once()

    def close(self) -> None:
        super().close()
        self._tell_once()

    def _tell_once(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            failed = self.refusal is not None and self.refusal.status >= 500
            laps = self.laps
            record(self._parent, laps.began_ns, laps.now_ns(), laps.steps, _attributes(self), failed)


class TracedProcessor(ExternalProcessor):
    """An `ExternalProcessor` whose sampled requests are recorded."""

    def __init__(self, gateway: Gateway, took: Callable[[str, float], None], record: Record) -> None:
        super().__init__(gateway, took)
        self._record = record

    def _open(self, context: grpc.aio.ServicerContext) -> Exchange:
        parent = sampled_parent(context.invocation_metadata() or ())
        if parent is None:
            return super()._open(context)
        gateway = self._gateway
        return TracedExchange(gateway, gateway.ticket(), context.write, parent=parent, record=self._record)


def sampled_parent(metadata: Sequence[tuple[str, str | bytes]]) -> Parent | None:
    """The span that asks, if it is sampled. Its syntax: https://www.w3.org/TR/trace-context/

    >>> sampled_parent([("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]).tracestate
    ''
    """
    parent = state = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            parent = value
        elif key == "tracestate" and isinstance(value, str):
            state = value
    flags = parent[53:55]
    if len(parent) < 55 or not flags.isalnum():
        return None
    try:
        return Parent(parent, state) if int(flags, 16) & 1 else None
    except ValueError:
        return None


def _attributes(exchange: Exchange) -> Mapping[str, Attribute]:
    """What a span says of it: configured names and numbers, nothing that a client wrote."""
    found: dict[str, Attribute] = {}
    endpoint = getattr(exchange, "endpoint", None)
    model = getattr(exchange, "model", None)
    chain = getattr(exchange, "chain", None)
    ranking = getattr(exchange, "ranking", None)
    if endpoint is not None:
        found["gen_ai.operation.name"] = _OPERATIONS.get(endpoint, "chat")
    if model is not None:
        found["gen_ai.request.model"] = model.name
        found["kvgate.tenant"] = exchange.caller.tenant
    if chain is not None:
        found["kvgate.prompt_tokens"] = chain.prompt_tokens
    if exchange.cache:
        found["kvgate.cache"] = exchange.cache
    if ranking is not None:
        best = ranking.best
        found["kvgate.replica"] = best.name
        found["kvgate.reason"] = ranking.reason
        found["kvgate.matched_tokens"] = best.matched_tokens
        found["kvgate.restored_tokens"] = best.restored_tokens
        found["kvgate.wait_s"] = round(best.wait_s, 6)
        found["kvgate.predicted_ttft_s"] = round(best.ttft_s(ranking.demand.prompt_tokens), 6)
    if exchange.refusal is not None:
        found["error.type"] = exchange.refusal.code or exchange.refusal.type
        found["http.response.status_code"] = exchange.refusal.status
    return found

"""The gRPC edge of the request path: one ext_proc stream is one exchange."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import grpc
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

from extproc.gateway.exchange import Exchange
from extproc.gateway.gateway import Gateway

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"


class ExternalProcessor:
    """Serves `envoy.service.ext_proc.v3.ExternalProcessor`. Answers leave as bytes that are already serialised.

    Args:
        took: is told of each message, by its name, how many seconds its answer took.
    """

    def __init__(self, gateway: Gateway, took: Callable[[str, float], None]) -> None:
        self._gateway = gateway
        self._took = took

    def add_to(self, server: grpc.aio.Server) -> None:
        method = grpc.stream_stream_rpc_method_handler(
            self.process, request_deserializer=ProcessingRequest.FromString, response_serializer=None
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Process": method}),))

    async def process(self, _: object, context: grpc.aio.ServicerContext) -> None:
        """Answers message by message, and leaves as soon as no answer of ours is needed any more.

        Leaving early is what makes a request cheap: Envoy then forwards the response without asking.
        """
        exchange = self._open(context)
        try:
            while not exchange.done:
                message = await context.read()
                if message is grpc.aio.EOF:
                    break
                began_s = perf_counter()
                answer = await exchange.receive(message)
                self._took(message.WhichOneof("request") or "", perf_counter() - began_s)
                await context.write(answer)
                exchange.delivered()
        finally:
            exchange.close()

    def _open(self, context: grpc.aio.ServicerContext) -> Exchange:
        return self._gateway.open(context.write)

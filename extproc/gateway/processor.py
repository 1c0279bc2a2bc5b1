"""The gRPC edge of the request path: one ext_proc stream is one exchange."""

from __future__ import annotations

import grpc
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

from extproc.gateway.gateway import Gateway

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"


class ExternalProcessor:
    """Serves `envoy.service.ext_proc.v3.ExternalProcessor`. Answers leave as bytes that are already serialised."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_to(self, server: grpc.aio.Server) -> None:
        method = grpc.stream_stream_rpc_method_handler(
            self.process, request_deserializer=ProcessingRequest.FromString, response_serializer=None
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Process": method}),))

    async def process(self, _: object, context: grpc.aio.ServicerContext) -> None:
        """Answers message by message, and leaves as soon as no answer of ours is needed any more.

        Leaving early is what makes a request cheap: Envoy then forwards the response without asking.
        """
        exchange = self._gateway.open(context.write)
        try:
            while not exchange.done:
                message = await context.read()
                if message is grpc.aio.EOF:
                    break
                await context.write(await exchange.receive(message))
                exchange.delivered()
        finally:
            exchange.close()

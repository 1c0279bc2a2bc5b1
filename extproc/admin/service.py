"""The gRPC edge of the admin API. What it does comes as callables; see proto/kvgate/admin/v1/admin.proto."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.api.httpbody_pb2 import HttpBody

from extproc.admin.v1 import admin_pb2, admin_pb2_grpc
from extproc.api.errors import GatewayError

log = logging.getLogger(__name__)

SERVICE: str = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name
DEFAULT_PATH = "/v1/chat/completions"

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a request would go, and why.

    Args:
        receipt: the decision as data; its numbers, text, lists and objects are JSON's.
    """

    model: str
    replica: str
    prompt_tokens: int
    prompt_blocks: int
    receipt: dict[str, Any]


Explain = Callable[[str, bytes, str], Awaitable[Explanation]]
"""Path, body, session -> explanation. Raises GatewayError where the request would be refused."""


class Admin(admin_pb2_grpc.AdminServicer):
    """Serves `kvgate.admin.v1.Admin`.

    Args:
        metrics: all metrics, in Prometheus' text format.
    """

    def __init__(self, explain: Explain, metrics: Callable[[], bytes]) -> None:
        self._explain = explain
        self._metrics = metrics

    def add_to(self, server: grpc.aio.Server) -> None:
        admin_pb2_grpc.add_AdminServicer_to_server(self, server)

    async def Explain(  # noqa: N802 - named by the API
        self, request: admin_pb2.ExplainRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.ExplainResponse:
        try:
            found = await self._explain(request.path or DEFAULT_PATH, request.request.data, request.session)
        except GatewayError as error:
            await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), _sentence(error))
        except Exception:
            await _fault(context)
        response = admin_pb2.ExplainResponse(
            model=found.model,
            replica=found.replica,
            prompt_tokens=found.prompt_tokens,
            prompt_blocks=found.prompt_blocks,
        )
        response.receipt.update(found.receipt)
        return response

    async def Metrics(  # noqa: N802 - named by the API
        self, _: admin_pb2.MetricsRequest, context: grpc.aio.ServicerContext
    ) -> HttpBody:
        try:
            page = self._metrics()
        except Exception:
            await _fault(context)
        return HttpBody(content_type="text/plain; version=0.0.4; charset=utf-8", data=page)


def _sentence(error: GatewayError) -> str:
    return f"{error.message} ({error.param})" if error.param else error.message


async def _fault(context: grpc.aio.ServicerContext) -> NoReturn:
    """Ends a call that a fault of ours broke; called while the fault is handled."""
    log.exception("an admin call failed")
    await context.abort(grpc.StatusCode.INTERNAL, "A fault in the processor; its log says more.")
    raise AssertionError("abort raises")

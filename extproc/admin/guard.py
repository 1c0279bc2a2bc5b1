"""Around every admin call: who may make it, and which status an error becomes."""

from __future__ import annotations

import hmac
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc

from extproc.admin.errors import Refused, Unauthenticated
from extproc.api.errors import GatewayError

log = logging.getLogger(__name__)

T = TypeVar("T")

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call.

    Args:
        token: that callers have to send; None: they need none.
        exposed: others than this machine can reach the server.
        metrics_open: metrics need no token.
    """

    token: str | None = None
    exposed: bool = False
    metrics_open: bool = False

    def check(self, authorization: str) -> None:
        """Lets a caller in.

        Raises:
            Unauthenticated: or does not.
        """
        if self.token is None:
            if self.exposed:
                raise Unauthenticated("Others can reach this processor: set operations.token to use its admin API.")
            return
        scheme, _, sent = authorization.partition(" ")
        if scheme.lower() != "bearer" or not sent:
            raise Unauthenticated("A token is required: send operations.token as `authorization: Bearer <token>`.")
        if not hmac.compare_digest(sent.strip().encode(), self.token.encode()):
            raise Unauthenticated("The token is not the one in operations.token.")

    def check_metrics(self, authorization: str) -> None:
        """Lets a scraper in.

        Raises:
            Unauthenticated: or does not.
        """
        if self.token is not None and not self.metrics_open:
            self.check(authorization)


class Guard:
    """Answers calls, or ends them with the status that says why not."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def answer(self, context: grpc.aio.ServicerContext, call: Callable[[], T | Awaitable[T]]) -> T:
        """What `call` returns, for a caller who may have it."""
        return await self._answer(context, self._access.check, call)

    async def answer_scraper(self, context: grpc.aio.ServicerContext, call: Callable[[], T | Awaitable[T]]) -> T:
        """The same for metrics."""
        return await self._answer(context, self._access.check_metrics, call)

    async def answer_anyone(self, context: grpc.aio.ServicerContext, call: Callable[[], T | Awaitable[T]]) -> T:
        """The same for pages, which browsers ask for without a token and which tell nothing of this gateway."""
        return await self._answer(context, lambda _: None, call)

    async def _answer(
        self,
        context: grpc.aio.ServicerContext,
        check: Callable[[str], None],
        call: Callable[[], T | Awaitable[T]],
    ) -> T:
        try:
            check(_authorization(context))
            found = call()
            if inspect.isawaitable(found):
                return await found
            return found
        except Refused as error:
            await context.abort(error.code, str(error))
        except GatewayError as error:
            await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), _sentence(error))
        except Exception:
            await _fault(context)
        raise AssertionError("abort raises")


def _authorization(context: grpc.aio.ServicerContext) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            return value
    return ""


def _sentence(error: GatewayError) -> str:
    return f"{error.message} ({error.param})" if error.param else error.message


async def _fault(context: grpc.aio.ServicerContext) -> NoReturn:
    """Ends a call that a fault of ours broke; called while the fault is handled."""
    log.exception("an admin call failed")
    await context.abort(grpc.StatusCode.INTERNAL, "A fault in the processor; its log says more.")
    raise AssertionError("abort raises")

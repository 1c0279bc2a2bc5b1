"""What a client is told when a request cannot be served.

GatewayError
 ├─ BadRequest             400  invalid_request_error
 ├─ Unauthorized           401  invalid_request_error   code invalid_api_key
 ├─ BudgetExhausted        402  insufficient_quota      code budget_exhausted
 ├─ ModelNotAllowed        403  invalid_request_error   code model_not_allowed
 ├─ ModelNotFound          404  invalid_request_error   code model_not_found
 ├─ UnknownPath            404  invalid_request_error   code unknown_path
 ├─ MethodNotAllowed       405  invalid_request_error   code method_not_allowed
 ├─ BodyTooLarge           413  invalid_request_error   code body_too_large
 ├─ RateLimited            429  rate_limit_error        code rate_limit_exceeded
 ├─ NoReplica              503  server_error            code no_replica
 └─ PolicyUnavailable      503  server_error            code policy_unavailable
"""

from __future__ import annotations

import math

import orjson


class GatewayError(Exception):
    """An answer that the gateway gives itself, in the shape of OpenAI's error object.

    Args:
        message: one sentence for the person who wrote the client; never holds prompt text.
        param: the request field at fault, as a path such as ``messages[2].content``.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Response headers that belong to the error, besides content-type."""
        return ()

    def body(self) -> bytes:
        """The JSON reply: ``{"error": {message, type, param, code}}``."""
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        )


class BadRequest(GatewayError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("www-authenticate", "Bearer"),)


class BudgetExhausted(GatewayError):
    """Args:
    retry_after_s: until the window ends.
    """

    status = 402
    type = "insufficient_quota"
    code = "budget_exhausted"

    def __init__(self, whose: str, retry_after_s: float) -> None:
        super().__init__(f"The budget of this {whose} is spent. It is renewed in {math.ceil(retry_after_s)} s.")
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("retry-after", str(max(1, math.ceil(self.retry_after_s)))),)


class ModelNotAllowed(GatewayError):
    status = 403
    type = "invalid_request_error"
    code = "model_not_allowed"

    def __init__(self, model: str) -> None:
        super().__init__(f"This key may not use the model {model[:200]!r}.", param="model")


class ModelNotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model[:200]!r} does not exist or is not served here.", param="model")


class UnknownPath(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "unknown_path"

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at {path[:200]}.")


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{path[:200]} takes {allowed}, not {method[:20]}.")
        self._allowed = allowed

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("allow", self._allowed),)


class BodyTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    code = "body_too_large"


class NoReplica(GatewayError):
    status = 503
    type = "server_error"
    code = "no_replica"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("retry-after", "1"),)


class RateLimited(GatewayError):
    """A bucket of a key or tenant is empty.

    Args:
        unit: `requests` or `tokens`.
        limit: of them per minute.
        remaining: that may be used now.
        retry_after_s: until this very request would be let in.
        reset_s: until the bucket is full.
    """

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self, whose: str, unit: str, *, limit: float, remaining: float, retry_after_s: float, reset_s: float
    ) -> None:
        allowed = f"{limit:.0f} {unit} per minute"
        super().__init__(f"This {whose} is limited to {allowed}. Try again in {retry_after_s:.3g} s.")
        self._headers = (
            ("retry-after", str(max(1, math.ceil(retry_after_s)))),
            ("x-ratelimit-limit", f"{limit:.0f}"),
            ("x-ratelimit-remaining", str(max(0, math.floor(remaining)))),
            ("x-ratelimit-reset", str(math.ceil(reset_s))),
            (f"x-ratelimit-limit-{unit}", f"{limit:.0f}"),
            (f"x-ratelimit-remaining-{unit}", str(max(0, math.floor(remaining)))),
            (f"x-ratelimit-reset-{unit}", f"{reset_s:.3f}s"),
        )

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self._headers


class PolicyUnavailable(GatewayError):
    """Limits cannot be checked, and the configuration says not to go on without them."""

    status = 503
    type = "server_error"
    code = "policy_unavailable"

    def __init__(self) -> None:
        super().__init__("Limits and budgets cannot be checked at the moment.")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("retry-after", "1"),)

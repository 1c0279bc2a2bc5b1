"""What a client is told when a request cannot be served.

GatewayError
 ├─ BadRequest             400  invalid_request_error
 ├─ ModelNotFound          404  invalid_request_error   code model_not_found
 ├─ UnknownPath            404  invalid_request_error   code unknown_path
 ├─ MethodNotAllowed       405  invalid_request_error   code method_not_allowed
 ├─ BodyTooLarge           413  invalid_request_error   code body_too_large
 └─ NoReplica              503  server_error            code no_replica
"""

from __future__ import annotations

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

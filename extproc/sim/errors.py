"""What a replica refuses, with the status and the shape that vLLM uses.

Refused(status, kind, message, param)
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        kind: vLLM's `type` in the error object.
        param: the field of the body that is wrong, where one is.
    """

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def openai(self) -> dict[str, Any]:
        """The body for OpenAI's endpoints."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}

    def anthropic(self) -> dict[str, Any]:
        """The body for /v1/messages."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}}


def bad_request(message: str, param: str | None = None) -> Refused:
    return Refused(400, "BadRequestError", message, param)


def malformed(message: str) -> Refused:
    """The body is no JSON object or misses a field: vLLM answers before it looks at the request."""
    return Refused(400, HTTPStatus.BAD_REQUEST.phrase, message)


def unknown_model(model: str) -> Refused:
    return Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")

"""The bytes of a request body -> InferenceRequest."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

import orjson

from . import chat, completions, embeddings, messages, responses
from .errors import BadRequest
from .fields import wrong_type
from .requests import Endpoint, InferenceRequest

MAX_DEPTH = 128
"""Levels of nesting in a body. Engines and templates recurse; far more than any real request has."""

_DIALECTS: dict[Endpoint, Callable[[dict[str, Any], str], InferenceRequest]] = {
    Endpoint.CHAT_COMPLETIONS: chat.read,
    Endpoint.COMPLETIONS: completions.read,
    Endpoint.RESPONSES: responses.read,
    Endpoint.EMBEDDINGS: embeddings.read,
    Endpoint.MESSAGES: messages.read,
}


def parse(endpoint: Endpoint, body: bytes) -> InferenceRequest:
    """Reads a body in the dialect of `endpoint`.

    What only the engine can judge (unknown fields, part types and roles, sampling ranges) is passed on.

    Raises:
        BadRequest: for a body that no engine would take, and for what the gateway could not route.
    """
    fields = _load(body)
    if type(fields) is not dict:
        raise BadRequest("The body must be a JSON object.")
    _reject_deep(fields)
    model = fields.get("model")
    if type(model) is not str:
        raise wrong_type("model", "a string", model)
    if not model:
        raise BadRequest("model must not be empty.", param="model")
    return _DIALECTS[endpoint](fields, model)


def _load(body: bytes) -> Any:
    if not body:
        raise BadRequest("The body is empty; a JSON object is expected.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _describe(error, body)
    # Raised out here because the decoder's error holds the whole body.
    raise problem


def _describe(error: orjson.JSONDecodeError, body: bytes) -> BadRequest:
    try:
        codecs.utf_8_decode(body, "strict", True)
    except UnicodeDecodeError as invalid:
        return BadRequest(f"The body is not valid UTF-8 at byte {invalid.start}.")
    return BadRequest(f"The body is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}.")


def _reject_deep(fields: dict[str, Any]) -> None:
    # A walk costs by the value, not by the byte: on a body with an image it is free, where counting brackets is not.
    level: list[Any] = [fields]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]

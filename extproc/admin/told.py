"""What an admin call over HTTP was told, in the caller's own JSON.

Envoy's transcoder drops keys that it does not know, so `envoy/admin.lua` sends the JSON of a change along, base64 in
the header `x-kvgate-admin-json`. What the path says is in the message already, and wins.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TypeVar

import grpc
import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from extproc.admin.errors import Invalid

JSON_HEADER = "x-kvgate-admin-json"

M = TypeVar("M", bound=Message)


def told(context: grpc.aio.ServicerContext, request: M) -> M:
    """The request as the caller meant it.

    Raises:
        Invalid: the JSON is none, or has keys or types that the call does not take.
    """
    for key, value in context.invocation_metadata() or ():
        if key == JSON_HEADER:
            return _read(value, request)
    return request


def _read(value: str | bytes, request: M) -> M:
    names = [field.name for field in request.DESCRIPTOR.fields]
    try:
        body = orjson.loads(b64decode(value, validate=True))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise Invalid(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise Invalid(f"The body must be a JSON object; it takes: {_listed(names)}.")
    for key in body:
        if key not in names:
            raise Invalid(f"There is no {key!r} here; the body takes: {_listed(names)}.")
    meant = type(request)()
    try:
        json_format.ParseDict(body, meant)
    except json_format.ParseError as error:
        raise Invalid(f"The body is not as it should be: {str(error).rstrip('.')}.") from None
    meant.MergeFrom(request)
    return meant


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"

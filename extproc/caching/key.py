"""When two requests are the same request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from blake3 import blake3

from extproc.api.errors import BadRequest
from extproc.api.requests import Endpoint, InferenceRequest
from extproc.prefix.media import decode

_VERSION = b"kvgate answer 1\0"

NOT_IN_THE_KEY = frozenset(
    {
        "stream",  # how the answer travels; blocking and streamed requests share an entry
        "stream_options",  # likewise
        "user",  # who asks, for abuse reports; engines do not read it
        "safety_identifier",  # its successor
        "metadata",  # labels for the provider's dashboard, Anthropic's user_id
        "store",  # whether the provider keeps a copy
        "prompt_cache_key",  # a hint where the prompt may be warm
        "priority",  # vLLM: when it is scheduled
        "request_id",  # vLLM: its name in the engine's log; a stored answer keeps the id it was born with
    }
)
"""Fields that cannot change an answer. All others are in the key, unknown ones too; `service_tier` is, because replies
state it. The Responses API repeats these fields in its replies, so there only the first two are left out."""

_NOT_IN_A_RESPONSES_KEY = frozenset({"stream", "stream_options"})
_URL_FIELDS = ("image_url", "audio_url", "video_url")
_MEDIA_PARTS = frozenset({None, "input_audio", "input_image", "image", "document", *_URL_FIELDS})
_LONGEST_HEADER = 1024
# No JSON holds this byte, so nothing that a client writes looks like a digest.
_DIGEST = b"\xff"


def exact_key(request: InferenceRequest, scope: str) -> bytes:
    """32 bytes that are equal only for requests with the same answer.

    BLAKE3 over the scope, the endpoint, the model and the body as JSON with sorted keys. Base64 media stand in it by
    the digest of their bytes: the same bytes in another spelling of base64 are the same; their type and detail count.
    A 1 MB image costs about 0.4 ms.

    Args:
        scope: who shares answers: the tenant, or a scope that several tenants were declared to share.
    """
    left_out = _NOT_IN_A_RESPONSES_KEY if request.endpoint is Endpoint.RESPONSES else NOT_IN_THE_KEY
    fields = {name: value for name, value in request.fields.items() if name not in left_out}
    for name in ("messages", "input"):
        if type(fields.get(name)) is list:
            fields[name] = [_turn(turn) for turn in fields[name]]
    if request.endpoint is Endpoint.MESSAGES:
        fields["system"] = _content(fields.get("system"))
    hasher = blake3(_VERSION)
    for text in (scope, request.endpoint.value, request.model):
        encoded = text.encode("utf-8", "surrogatepass")
        hasher.update(len(encoded).to_bytes(8, "big") + encoded)
    hasher.update(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
    return hasher.digest()


def _turn(turn: Any) -> Any:
    """A message, or an item of the Responses API: its content, or the output of a tool, may hold media."""
    if type(turn) is not dict:
        return turn
    held = "output" if "output" in turn else "content"
    return {**turn, held: _content(turn[held])} if type(turn.get(held)) is list else turn


def _content(content: Any) -> Any:
    return [_part(part) for part in content] if type(content) is list else content


def _part(part: Any) -> Any:
    if type(part) is not dict:
        return part
    kind = part.get("type")
    if kind == "tool_result":
        return {**part, "content": _content(part.get("content"))}
    if (kind is not None and type(kind) is not str) or kind not in _MEDIA_PARTS:
        return part
    changed = dict(part)
    for field in _URL_FIELDS:
        value = part.get(field)
        if type(value) is str:
            changed[field] = _url(value)
        elif type(value) is dict and type(value.get("url")) is str:
            changed[field] = {**value, "url": _url(value["url"])}
    audio, source = part.get("input_audio"), part.get("source")
    if type(audio) is dict and type(audio.get("data")) is str:
        changed["input_audio"] = {**audio, "data": _payload("", audio["data"])}
    if type(source) is dict:
        changed["source"] = _source(source)
    return changed


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Where an `image` or `document` of Anthropic's dialect comes from."""
    kind = source.get("type")
    if kind == "base64" and type(source.get("data")) is str:
        return {**source, "data": _payload("", source["data"])}
    if kind == "url" and type(source.get("url")) is str:
        return {**source, "url": _url(source["url"])}
    if kind == "content":
        return {**source, "content": _content(source.get("content"))}
    return dict(source)


def _url(url: str) -> str | orjson.Fragment:
    if url[:5].lower() != "data:":
        return url
    comma = url.find(",", 5, _LONGEST_HEADER)
    if comma < 0 or not url[5:comma].lower().endswith(";base64"):
        return url
    return _payload(url[:comma], url[comma + 1 :])


def _payload(header: str, payload: str) -> str | orjson.Fragment:
    """What stands in the key for a payload. One that cannot be decoded stands for itself."""
    try:
        content = decode(payload)
    except BadRequest:
        return f"{header},{payload}"
    return orjson.Fragment(orjson.dumps(header) + _DIGEST + blake3(content).hexdigest().encode())

"""What a client writes that decides which cached blocks it gets, and what the gateway writes instead.

A `uuid` on an image is identity to vLLM: other bytes under the same uuid are a wrong hit, its own tenant's or
another's. So beside data it is taken out, and the engine hashes the bytes itself: nobody can name bytes that he does
not have. A uuid without data asks for what the engine holds under that name. The gateway answers for the name: it
remembers what a tenant's uuids stood for when they came with data, and writes the engine's own name for those bytes. A
uuid that it never saw becomes one that nobody can have stored (`unknown_uuid`); the engine says that data is lacking.

A `cache_salt` keeps prompts under different salts from sharing blocks. Where the gateway sets it, each tenant has its
own, and what a client asks for only divides further (`tenant_salt`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blake3 import blake3

from .requests import Endpoint, InferenceRequest
from .rewrite import set_field

_DATA = ("image_url", "video_url", "audio_url", "input_audio", "image_embeds", "audio_embeds", "video_embeds")
_LISTS = {Endpoint.CHAT_COMPLETIONS: "messages", Endpoint.RESPONSES: "input"}


def tenant_salt(tenant: str, client_salt: str | None = None) -> str:
    """The salt of a tenant's prompts: 32 hex digits, which is within what vLLM takes."""
    return _digest(b"salt", tenant, client_salt or "")


def unknown_uuid(tenant: str, uuid: str) -> str:
    """A name for what a client says the engine holds, of which the gateway knows nothing. No image has it."""
    return "unknown-" + _digest(b"uuid", tenant, uuid)


def with_salt(body: bytes, salt: str) -> bytes:
    """The body with this salt, whatever the client wrote."""
    return set_field(body, "cache_salt", salt)


def with_engine_uuids(body: bytes, request: InferenceRequest, engine_uuid: Callable[[str], str]) -> bytes:
    """The body without uuids beside data, and with `engine_uuid` of those that stand alone.

    A body without uuids is returned as it is. Of any other only the list of messages is written anew.
    """
    name = _LISTS.get(request.endpoint)
    listed = request.fields.get(name) if name else None
    if name is None or not isinstance(listed, list) or not any(_has_uuid(message) for message in listed):
        return body
    return set_field(body, name, [_rewritten(message, engine_uuid) for message in listed], present=True)


def _has_uuid(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(isinstance(part, dict) and "uuid" in part for part in content)


def _rewritten(message: Any, engine_uuid: Callable[[str], str]) -> Any:
    if not _has_uuid(message):
        return message
    return {**message, "content": [_part(part, engine_uuid) for part in message["content"]]}


def _part(part: Any, engine_uuid: Callable[[str], str]) -> Any:
    if not isinstance(part, dict) or "uuid" not in part:
        return part
    uuid = part["uuid"]
    if uuid is None or any(map(_is_there, (part.get(name) for name in _DATA))):
        return {name: value for name, value in part.items() if name != "uuid"}
    # The engine takes any JSON value and makes a string of it.
    return {**part, "uuid": engine_uuid(uuid if isinstance(uuid, str) else str(uuid))}


def _is_there(data: Any) -> bool:
    """Whether there is something to hash: vLLM takes ``{"url": null}`` and an empty URL for nothing."""
    if isinstance(data, dict):
        return any(bool(value) for name, value in data.items() if name not in ("detail", "format"))
    return bool(data)


def _digest(kind: bytes, *values: str) -> str:
    hasher = blake3(kind)
    for value in values:
        content = value.encode("utf-8", "surrogatepass")
        hasher.update(len(content).to_bytes(8, "little") + content)
    return hasher.digest(16).hex()

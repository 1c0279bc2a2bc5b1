"""Parts that carry an image, a sound or a video -> Media."""

from __future__ import annotations

from typing import Any

from .errors import BadRequest
from .fields import text, wrong_type
from .parts import Reader, as_json
from .requests import Media, MediaKind, Part

_LONGEST_HEADER = 1024
"""Characters before the comma of a data URL. A bound, so that a missing comma is found at once in a long string."""


def from_url(
    kind: MediaKind, url: str, param: str, field: str, *, uuid: str | None = None, detail: str | None = None
) -> Media:
    """Media behind a URL; the payload of a data URL is split off, still encoded.

    Other schemes than data (http, https, file, ...) are left to the engine.

    Raises:
        BadRequest: a data URL that is malformed, empty or not base64.
    """
    if url[:5].lower() != "data:":
        return Media(kind, url=url, uuid=uuid, detail=detail, param=param)
    comma = url.find(",", 5, _LONGEST_HEADER)
    if comma < 0:
        raise BadRequest(f"{param}.{field} is a data URL without a comma.", param=f"{param}.{field}")
    if not url[5:comma].lower().endswith(";base64"):
        raise BadRequest(
            f"{param}.{field} must be a base64 data URL: data:<type>;base64,<data>.", param=f"{param}.{field}"
        )
    if len(url) == comma + 1:
        raise BadRequest(f"{param}.{field} is an empty data URL.", param=f"{param}.{field}")
    return Media(kind, base64=url[comma + 1 :], uuid=uuid, detail=detail, param=param)


def url_part(kind: MediaKind, field: str) -> Reader:
    """A reader of ``{field: URL}`` and ``{field: {url, detail}}``, with vLLM's `uuid` beside it.

    With a `uuid` the URL may be null: the engine is to use what it holds under that name. Responses' `file_id` names
    a stored file in the same way.
    """

    def read(part: dict[str, Any], param: str) -> tuple[Part, ...]:
        value, where, detail = part.get(field), field, text(part, "detail")
        if type(value) is dict:
            detail = text(value, "detail")
            value, where = value.get("url"), f"{field}.url"
        uuid = text(part, "uuid") or text(part, "file_id")
        if type(value) is str:
            return (from_url(kind, value, param, where, uuid=uuid, detail=detail),)
        if value is None and uuid:
            return (Media(kind, uuid=uuid, detail=detail, param=param),)
        raise wrong_type(f"{param}.{where}", "a URL", value)

    return read


def inline_audio(part: dict[str, Any], param: str) -> tuple[Part, ...]:
    """``input_audio: {data, format}``, the data in base64; null with a `uuid`."""
    value, uuid = part.get("input_audio"), text(part, "uuid")
    data = value.get("data") if type(value) is dict else None
    if type(data) is str:
        return (Media("audio", base64=data, uuid=uuid, param=param),)
    if uuid and data is None and (value is None or type(value) is dict):
        return (Media("audio", uuid=uuid, param=param),)
    if type(value) is dict:
        raise wrong_type(f"{param}.input_audio.data", "a base64 string", data)
    raise wrong_type(f"{param}.input_audio", "an object with data and format", value)


def embeds(kind: MediaKind, field: str) -> Reader:
    """vLLM's ``image_embeds`` and ``audio_embeds``: a tensor in base64, or an object that holds it by name."""

    def read(part: dict[str, Any], param: str) -> tuple[Part, ...]:
        value, uuid = part.get(field), text(part, "uuid")
        if type(value) is dict and type(value.get(field)) is str:
            value = value[field]
        if type(value) is str:
            return (Media(kind, base64=value, uuid=uuid, param=param),)
        if value is None and uuid:
            return (Media(kind, uuid=uuid, param=param),)
        return as_json(part, param)

    return read

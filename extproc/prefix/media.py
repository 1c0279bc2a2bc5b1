"""Image, audio and video bytes -> what they are (a digest) and how large (width and height)."""

from __future__ import annotations

import binascii
import io
from dataclasses import dataclass
from urllib.parse import unquote

import imagesize
import pybase64
from blake3 import blake3

from extproc.api.errors import BadRequest
from extproc.api.requests import Media

_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n")


@dataclass(frozen=True, slots=True)
class MediaIdentity:
    """Who a medium is, whatever message carries it.

    Args:
        digest: 32 bytes; equal digests are equal content (or, for a remote URL, an equal address).
        size_bytes: decoded size; 0 when the gateway never sees the bytes.
        width: pixels, of an image whose format is known; else 0.
        height: pixels, likewise.
    """

    digest: bytes
    size_bytes: int = 0
    width: int = 0
    height: int = 0


def identify(media: Media) -> MediaIdentity:
    """The identity of a medium: BLAKE3 over its decoded bytes, its URL, or the client's own uuid.

    A uuid that comes with bytes does not replace their digest but joins it: vLLM trusts the uuid blindly, so the
    same bytes under two uuids are two cache entries there, and other bytes under the same uuid are a wrong hit that
    must at least not become a wrong prediction.

    Raises:
        BadRequest: the payload is not base64.
    """
    uuid = (media.uuid or "").encode("utf-8", "surrogatepass")
    if media.base64 is None:
        address = (media.url or "").encode("utf-8", "surrogatepass")
        return MediaIdentity(blake3(b"url\0" + address + b"\0" + uuid).digest())
    content = decode(media.base64, media.param)
    hasher = blake3(content)
    if uuid:
        hasher.update(b"\0uuid\0" + uuid)
    width, height = _dimensions(content) if media.kind == "image" else (0, 0)
    return MediaIdentity(hasher.digest(), len(content), width, height)


def decode(payload: str, param: str = "") -> bytes:
    """The bytes behind a base64 payload; takes the URL-safe alphabet, line breaks and missing padding too.

    Raises:
        BadRequest: the payload is not base64, or is empty.
    """
    if not payload:
        raise BadRequest("The media payload is empty.", param=param)
    try:
        return pybase64.b64decode(payload, validate=True)
    except (ValueError, binascii.Error):
        pass
    lenient = unquote(payload).translate(_URL_SAFE)
    try:
        return pybase64.b64decode(lenient + "=" * (-len(lenient) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise BadRequest("The media payload is not valid base64.", param=param) from None


def _dimensions(content: bytes) -> tuple[int, int]:
    """Width and height from the header of the file; (0, 0) where only the engine can tell."""
    try:
        width, height = imagesize.get(io.BytesIO(content))
    except Exception:  # a parser fed a stranger's bytes may fail in any way; the size is only an estimate
        return 0, 0
    return max(width, 0), max(height, 0)

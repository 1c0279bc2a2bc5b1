"""Image, audio and video bytes -> what they are (a digest) and how large (width and height)."""

from __future__ import annotations

import binascii
import io
from dataclasses import dataclass, field
from urllib.parse import unquote

import imagesize
import pybase64
from blake3 import blake3

from extproc.api.errors import BadRequest
from extproc.api.requests import Media
from extproc.prefix.engine_identity import ImageHash, may_be_turned, opened

_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n")


@dataclass(frozen=True, slots=True)
class MediaIdentity:
    """Who a medium is, whatever message carries it.

    Args:
        digest: 32 bytes; equal digests are equal content (or, for a remote URL, an equal address).
        size_bytes: decoded size; 0 when the gateway never sees the bytes.
        width: pixels, of an image whose format is known; else 0.
        height: pixels, likewise.
        may_be_turned: whether the engine may exchange width and height.
        image_hash: the engine's own hash of an image whose bytes are here, but for its last step; None where the
            image's format leaves open what the engine would hash.
    """

    digest: bytes
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    may_be_turned: bool = False
    image_hash: ImageHash | None = field(default=None, compare=False, repr=False)


class Identities:
    """What the media of one request are: each is decoded and hashed once, whoever asks."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Media, MediaIdentity]] = {}

    def of(self, media: Media) -> MediaIdentity:
        """The identity of a medium of the request.

        Raises:
            BadRequest: the payload is not base64.
        """
        # By object, not by value: to compare two payloads costs as much as to hash them.
        known = self._known.get(id(media))
        if known is None:
            known = self._known[id(media)] = media, identify(media)
        return known[1]


def identify(media: Media) -> MediaIdentity:
    """The identity of a medium: BLAKE3 over its decoded bytes, its URL, or the client's own uuid.

    A uuid beside bytes does not count: it does not reach the engine (`api/cache_identity.py`). An image's bytes are
    framed as the engine frames them, so that one pass over them serves both.

    Raises:
        BadRequest: the payload is not base64.
    """
    if media.base64 is None:
        address, uuid = ((each or "").encode("utf-8", "surrogatepass") for each in (media.url, media.uuid))
        return MediaIdentity(blake3(b"url\0" + address + b"\0" + uuid).digest())
    content = decode(media.base64, media.param)
    image_hash = opened(content) if media.kind == "image" else None
    hasher = image_hash.copy() if image_hash else blake3(content)
    if media.kind != "image":
        return MediaIdentity(hasher.digest(), len(content))
    width, height = _dimensions(content)
    return MediaIdentity(hasher.digest(), len(content), width, height, may_be_turned(content), image_hash)


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

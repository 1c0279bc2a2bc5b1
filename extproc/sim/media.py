"""Images, sounds and videos: their identity and how many tokens they become.

Identity is vLLM's: blake3 over framed (key, type, original file bytes) and the model's name, or the client's `uuid`
verbatim. So a re-encoded copy is another item, and other bytes under a known `uuid` are (wrongly) the same one.

Tokens of an image are Qwen2-VL's: each side rounded to a multiple of 28 pixels, one token for 28 x 28 of them, from 4
to 16,384. Sound and video are counted by their bytes, which only this simulator does: 1,280 bytes a token of sound (25
tokens a second of 16 kHz 16-bit PCM), 1,024 a token of video. What only a URL names is never fetched: its identity is
that of the URL, and it is 1,024 tokens.
"""

from __future__ import annotations

import binascii
import io
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Literal

import imagesize
import pybase64
from blake3 import blake3

from extproc.sim.errors import bad_request

MediaKind = Literal["image", "audio", "video"]

REMOTE_TOKENS = 1024
_PIXELS = 28
_MIN_IMAGE_TOKENS = 4
_MAX_IMAGE_TOKENS = 16_384
_AUDIO_BYTES_PER_TOKEN = 1280
_VIDEO_BYTES_PER_TOKEN = 1024
_REMEMBERED_ITEMS = 4096


@dataclass(frozen=True, slots=True)
class Media:
    """One item of a prompt: what it is and the length of its placeholder run."""

    kind: MediaKind
    identity: str
    tokens: int


def image_tokens(width: int, height: int) -> int:
    """Tokens of an image by its size in pixels.

    >>> image_tokens(1024, 1024)
    1369
    """
    patches = max(1, round(width / _PIXELS)) * max(1, round(height / _PIXELS))
    return min(max(patches, _MIN_IMAGE_TOKENS), _MAX_IMAGE_TOKENS)


def content_identity(kind: MediaKind, content: bytes, model: str) -> str:
    """vLLM's identifier of a media item's file bytes, in hex."""
    key = _framed(kind.encode())
    digest = blake3(key + b"\x03" + key + b"\x03" + len(content).to_bytes(8, "little"))
    digest.update(content)
    digest.update(_framed(b"model_id") + b"\x03" + _framed(model.encode()))
    return digest.hexdigest()


def _framed(value: bytes) -> bytes:
    return len(value).to_bytes(8, "little") + value


class MediaReader:
    """Turns the media parts of bodies into `Media`.

    Args:
        model: the model's name, part of every identity.
        known: tokens by `uuid` of what was seen before, for parts that carry no data.
    """

    def __init__(self, model: str, known: MutableMapping[str, int]) -> None:
        self._model = model
        self._known = known

    def from_url(self, kind: MediaKind, url: str | None, uuid: str | None) -> Media:
        """An item given as data URL, remote URL, or by `uuid` alone.

        Raises:
            Refused: the data is no such media (400), or nothing is known under the `uuid` (400).
        """
        if url is None:
            return self._remembered(kind, uuid)
        if not url.startswith("data:"):
            if not url.startswith(("http://", "https://")):
                raise bad_request("The URL must be either a HTTP, data or file URL.", kind)
            return self._item(kind, REMOTE_TOKENS, uuid, lambda: content_identity(kind, url.encode(), self._model))
        header, comma, payload = url.partition(",")
        if not comma or not header.endswith(";base64"):
            raise bad_request("Only base64 data URLs are supported for now.", kind)
        return self.from_base64(kind, payload, uuid)

    def from_base64(self, kind: MediaKind, payload: str, uuid: str | None) -> Media:
        """An item given as base64 of its file.

        Raises:
            Refused: it is not base64 or not an image (400).
        """
        try:
            content = pybase64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError) as error:
            raise bad_request(f"Failed to load {kind}: {error}", kind) from error
        return self._item(kind, _tokens(kind, content), uuid, lambda: content_identity(kind, content, self._model))

    def _remembered(self, kind: MediaKind, uuid: str | None) -> Media:
        if uuid is None:
            raise bad_request(f"A {kind} part needs data or a uuid.", kind)
        tokens = self._known.get(uuid)
        if tokens is None:
            raise bad_request(f"No {kind} is cached under uuid {uuid!r} and the part carries no data.", kind)
        return Media(kind, uuid, tokens)

    def _item(self, kind: MediaKind, tokens: int, uuid: str | None, hash_content: Callable[[], str]) -> Media:
        if not uuid:
            return Media(kind, hash_content(), tokens)
        self._known[uuid] = tokens
        if len(self._known) > _REMEMBERED_ITEMS:
            del self._known[next(iter(self._known))]
        return Media(kind, uuid, tokens)


def _tokens(kind: MediaKind, content: bytes) -> int:
    if kind == "audio":
        return max(1, len(content) // _AUDIO_BYTES_PER_TOKEN)
    if kind == "video":
        return max(1, len(content) // _VIDEO_BYTES_PER_TOKEN)
    width, height = imagesize.get(io.BytesIO(content))
    if width < 1 or height < 1:
        raise bad_request("Failed to load image: cannot identify image file", "image")
    return image_tokens(int(width), int(height))

"""vLLM's name for an image: BLAKE3 over its original bytes and the model's path (`multimodal/hasher.py` of 0.32).

    blake3(frame("image") value(image) frame("model_id") leaf(model))
    frame(x) = length of x in 8 bytes, little-endian, and x;  leaf(x) = 03 frame(x)
    value(image) = 03 frame("image") leaf(bytes)                                  an image that is RGB
                   03 frame("image") map(io_config: how it is made RGB, data: bytes)    any other

The engine opens images with Pillow, so what counts as RGB is what Pillow says: it is read from the file's header here,
for the formats where the header tells.
"""

from __future__ import annotations

from typing import TypeAlias

from blake3 import blake3

ImageHash: TypeAlias = "blake3"

_LENGTH_BYTES = 8
_HEAD = (0, 65_536)
"""Where metadata stands in a PNG or a JPEG."""
_JPEG_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""Markers of the segment that tells how many components a JPEG has."""
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""


def opened(content: bytes) -> ImageHash | None:
    """The hash of an image before the model's name goes in; None if it is not known how the engine reads it.

    A default engine is supposed: BLAKE3, images made RGB on white, no media or processor options.
    """
    rgb = is_rgb(content)
    if rgb is None:
        return None
    hasher = blake3(_RGB if rgb else _NOT_RGB)
    hasher.update(len(content).to_bytes(_LENGTH_BYTES, "little"))
    hasher.update(content)
    return hasher


def identifier(image_hash: ImageHash, engine_model: str) -> str:
    """The engine's name for the image: 64 hex digits.

    Args:
        engine_model: what the engine was given as its model, a path or a name of the hub.
    """
    hasher = image_hash.copy()
    hasher.update(_frame(b"model_id") + _LEAF + _frame(engine_model.encode("utf-8", "surrogatepass")))
    return hasher.hexdigest()


def is_rgb(content: bytes) -> bool | None:
    """Whether Pillow opens the image in mode RGB; None where the header does not tell."""
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return False
    return None


def may_be_turned(content: bytes) -> bool:
    """Whether the engine may turn the image by what its metadata says, so that its sides are not those of its header.

    JPEG's usual way to say it is left out: there the sides are read as turned.
    """
    if content.startswith(b"RIFF"):
        return content[12:16] == b"VP8X" and bool(content[20:21] and content[20] & 0x0C)  # EXIF, XMP
    return content.find(b"eXIf", *_HEAD) >= 0 or content.find(b"tiff:Orientation", *_HEAD) >= 0


def _png(content: bytes) -> bool | None:
    if content[12:16] != b"IHDR" or len(content) < 26:
        return None
    return content[25] == 2  # colour type


def _jpeg(content: bytes) -> bool | None:
    at = 2
    while at + 9 < len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_SIZES:
            return content[at + 9] == 3
        elif marker == 0xE2 and content[at + 4 : at + 8] == b"MPF\0":
            return None  # several pictures in one file: Pillow takes another way
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _webp(content: bytes) -> bool | None:
    kind = content[12:16]
    if kind == b"VP8 ":
        return True
    if kind == b"VP8L" and len(content) > 24:
        return not content[24] & 0x10
    if kind == b"VP8X" and len(content) > 20:
        return not content[20] & 0x10
    return None


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content


_SEQUENCE, _MAPPING, _LEAF = b"\x01", b"\x02", b"\x03"
_RGB = _frame(b"image") + _LEAF + _frame(b"image") + _LEAF
_WHITE = _SEQUENCE + (3).to_bytes(_LENGTH_BYTES, "little") + 3 * (_LEAF + _frame((255).to_bytes(8, "little")))
_IO_CONFIG = (
    (_MAPPING + (2).to_bytes(_LENGTH_BYTES, "little"))
    + (_frame(b"image_mode") + _LEAF + _frame(b"RGB"))
    + (_frame(b"rgba_background_color") + _WHITE)
)
_NOT_RGB = (
    (_frame(b"image") + _LEAF + _frame(b"image"))
    + (_MAPPING + (2).to_bytes(_LENGTH_BYTES, "little"))
    + (_frame(b"io_config") + _IO_CONFIG)
    + (_frame(b"data") + _LEAF)
)

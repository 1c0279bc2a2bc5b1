"""PNG files made of seeded noise, and the data URLs that carry them."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from functools import cache

_DISTINCT_BYTES_PER_ROW = 96


def noise_png(width: int, height: int, seed: int, *, distinct_bytes_per_row: int | None = None) -> bytes:
    """An RGB image. Noise does not compress: a file has about 3 bytes a pixel.

    Args:
        distinct_bytes_per_row: rows repeat themselves after so many bytes, which makes the file smaller.
    """
    generator = random.Random(seed)
    row_bytes = 3 * width
    period = min(distinct_bytes_per_row or row_bytes, row_bytes)
    rows = bytearray()
    for _ in range(height):
        pattern = generator.randbytes(period)
        rows += b"\0" + (pattern * (row_bytes // period + 1))[:row_bytes]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


@cache
def photo_url(side: int, seed: int, number: int) -> str:
    """A square image as a data URL. Its rows repeat: 1024 x 1024 are about 100 kB instead of 3 MB, as a photo's JPEG
    would have."""
    return data_url(noise_png(side, side, seed * 10_007 + number, distinct_bytes_per_row=_DISTINCT_BYTES_PER_ROW))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

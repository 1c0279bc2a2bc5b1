"""Images for tests: real files of a real size, different for each seed."""

from __future__ import annotations

import base64
import io
import random
from typing import Any

from PIL import Image


def png(seed: int, side: int = 280) -> bytes:
    """A PNG of coloured noise, `side` x `side` pixels."""
    noise = random.Random(seed).randbytes(side * side * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def image_part(seed: int, side: int = 280) -> dict[str, Any]:
    """The same as a content part with a data URL."""
    payload = base64.b64encode(png(seed, side)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{payload}"}}

"""Images as clients send them."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image


def picture(width: int = 56, height: int = 56, color: int = 0, kind: str = "PNG", **options: int) -> bytes:
    """An image file of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (color, color, 64)).save(out, kind, **options)
    return out.getvalue()


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def image_part(content: bytes, **fields: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(content)}, **fields}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    """A body with one user message."""
    content = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else list(parts)
    return {"messages": [{"role": "user", "content": content}]}

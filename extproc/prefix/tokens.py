"""How many tokens an image, a sound or a video becomes: the published rule of each model family.

These are estimates: they weigh blocks against each other, the engine's own usage is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from extproc.api.requests import MediaKind
from extproc.prefix.media import MediaIdentity

_UNKNOWN_IMAGE_TOKENS = 1024
_AUDIO_BYTES_PER_TOKEN = 640  # 16 kHz mono at 16 bit is 32 kB a second; Whisper-style encoders emit 50 tokens a second
_VIDEO_BYTES_PER_TOKEN = 512


def qwen2_vl(width: int, height: int) -> int:
    """Qwen2-VL and Qwen2.5-VL: one token per 28 x 28 pixels, sides rounded to 28, at most 16,384 tokens.

    Source: `smart_resize` of the Qwen2-VL image processor (arXiv 2409.12191, section 2.1).
    """
    columns, rows = max(1, round(width / 28)), max(1, round(height / 28))
    return min(max(columns * rows, 4), 16_384)


def llava_onevision(width: int, height: int, *, tile: int = 384, patch: int = 14, max_tiles: int = 9) -> int:
    """LLaVA-OneVision (anyres_max_9): a base view of 27 x 27 tokens plus the tiles of the best-fitting grid.

    Beyond `max_tiles` tiles' worth of tokens the grid is scaled down. Rows end in a newline token.
    Source: arXiv 2408.03326, section 3.1; a 1024 x 1024 image is 729 + 81 * 82 = 7,371 tokens.
    """
    side = tile // patch
    base = side * side
    columns, rows = _best_grid(width, height, tile)
    fit = min(columns * tile / width, rows * tile / height)
    across = max(1, min(columns * side, round(width * fit / tile * side)))
    down = max(1, min(rows * side, round(height * fit / tile * side)))
    shrink = math.sqrt(across * down / (max_tiles * base))
    if shrink > 1.1:
        across, down = int(across / shrink), int(down / shrink)
    return base + down * (across + 1)


def openai_tiles(width: int, height: int) -> int:
    """OpenAI's high-detail rule: fit into 2,048, shortest side to 768, then 170 tokens per 512-pixel tile plus 85.

    Source: OpenAI's vision guide, "calculating costs" for GPT-4o.
    """
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    return 85 + 170 * tiles


_RULES: dict[str, Callable[[int, int], int]] = {
    "qwen2_vl": qwen2_vl,
    "llava_onevision": llava_onevision,
    "openai_tiles": openai_tiles,
}


def media_tokens(kind: MediaKind, identity: MediaIdentity, image_rule: str | int) -> int:
    """Tokens that the medium takes in the prompt, at least 1.

    Args:
        image_rule: a family's name, or a fixed number of tokens an image.
    """
    if kind == "audio":
        return max(1, identity.size_bytes // _AUDIO_BYTES_PER_TOKEN)
    if kind == "video":
        return max(1, identity.size_bytes // _VIDEO_BYTES_PER_TOKEN)
    if isinstance(image_rule, int):
        return image_rule
    if identity.width == 0 or identity.height == 0:
        return _UNKNOWN_IMAGE_TOKENS
    return _RULES[image_rule](identity.width, identity.height)


def _best_grid(width: int, height: int, tile: int) -> tuple[int, int]:
    """The grid of up to 6 x 6 tiles that keeps most of the image's resolution and wastes least."""

    def merit(grid: tuple[int, int]) -> tuple[int, int]:
        scale = min(grid[0] * tile / width, grid[1] * tile / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, -(grid[0] * tile * grid[1] * tile - kept)

    return max(((c, r) for c in range(1, 7) for r in range(1, 7)), key=merit)

"""The content parts of OpenAI's dialects, with vLLM's additions."""

from __future__ import annotations

from .media import embeds, inline_audio, url_part
from .parts import Reader, text_under

OPENAI_PARTS: dict[str, Reader] = {
    "text": text_under("text"),
    "input_text": text_under("text"),
    "output_text": text_under("text"),
    "refusal": text_under("refusal"),
    "thinking": text_under("thinking"),
    "image_url": url_part("image", "image_url"),
    "input_image": url_part("image", "image_url"),
    "image_embeds": embeds("image", "image_embeds"),
    "audio_embeds": embeds("audio", "audio_embeds"),
    "input_audio": inline_audio,
    "audio_url": url_part("audio", "audio_url"),
    "video_url": url_part("video", "video_url"),
}

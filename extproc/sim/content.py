"""The content of messages, in the part types of OpenAI's and Anthropic's bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from extproc.sim.errors import bad_request, malformed
from extproc.sim.media import Media, MediaReader
from extproc.sim.template import Part, call_text


def read_content(content: Any, reader: MediaReader) -> tuple[Part, ...]:
    """Text and media of a message's `content`, in order.

    Raises:
        Refused: a part is of no known type or misses its payload (400).
    """
    if content is None:
        return ()
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list):
        raise malformed("content must be a string or a list of parts")
    parts: list[Part] = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
            continue
        read = _READERS.get(part.get("type", "")) if isinstance(part, Mapping) else None
        if read is None:
            raise bad_request(f"Unknown part type: {part.get('type') if isinstance(part, Mapping) else part!r}")
        parts += read(part, reader)
    return tuple(parts)


def _text(part: Mapping[str, Any], reader: MediaReader) -> tuple[Part, ...]:
    text = part.get("text", part.get("refusal", part.get("thinking")))
    if not isinstance(text, str):
        raise malformed(f"a part of type {part['type']} needs a string")
    return (text,)


def _uuid(part: Mapping[str, Any]) -> str | None:
    uuid = part.get("uuid")
    if uuid is not None and not isinstance(uuid, str):
        raise malformed("uuid must be a string")
    return uuid or None


def _url(part: Mapping[str, Any]) -> str | None:
    value = part.get(part["type"] if part["type"] != "input_image" else "image_url")
    url = value.get("url") if isinstance(value, Mapping) else value
    if url is not None and not isinstance(url, str):
        raise malformed(f"{part['type']} needs a URL")
    return url


def _image(part: Mapping[str, Any], reader: MediaReader) -> tuple[Media]:
    return (reader.from_url("image", _url(part), _uuid(part)),)


def _audio(part: Mapping[str, Any], reader: MediaReader) -> tuple[Media]:
    return (reader.from_url("audio", _url(part), _uuid(part)),)


def _video(part: Mapping[str, Any], reader: MediaReader) -> tuple[Media]:
    return (reader.from_url("video", _url(part), _uuid(part)),)


def _inline_audio(part: Mapping[str, Any], reader: MediaReader) -> tuple[Media]:
    sound = part.get("input_audio")
    data = sound.get("data") if isinstance(sound, Mapping) else None
    if data is None:
        return (reader.from_url("audio", None, _uuid(part)),)
    if not isinstance(data, str):
        raise malformed("input_audio needs data")
    return (reader.from_base64("audio", data, _uuid(part)),)


def _anthropic_image(part: Mapping[str, Any], reader: MediaReader) -> tuple[Media]:
    source = part.get("source")
    if not isinstance(source, Mapping):
        raise malformed("an image needs a source")
    field = "url" if source.get("type") == "url" else "data"
    value = source.get(field)
    if not isinstance(value, str):
        raise malformed(f"an image source needs {field}")
    return (reader.from_url("image", value, None) if field == "url" else reader.from_base64("image", value, None),)


def _tool_use(part: Mapping[str, Any], reader: MediaReader) -> tuple[Part, ...]:
    return (call_text(part.get("name"), part.get("input")),)


def _tool_result(part: Mapping[str, Any], reader: MediaReader) -> tuple[Part, ...]:
    return read_content(part.get("content"), reader)


_READERS: dict[str, Callable[[Mapping[str, Any], MediaReader], tuple[Part, ...]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _text,
    "thinking": _text,
    "image_url": _image,
    "input_image": _image,
    "audio_url": _audio,
    "video_url": _video,
    "input_audio": _inline_audio,
    "image": _anthropic_image,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}

"""POST /v1/messages: Anthropic's Messages API."""

from __future__ import annotations

from typing import Any

from .errors import BadRequest
from .fields import Fields, compact, count, filled_list, flag, text, tools, wrong_type
from .media import from_url
from .parts import Reader, as_json, read_content, text_under
from .requests import Endpoint, InferenceRequest, Media, Message, Part, Text


def read(fields: dict[str, Any], model: str) -> InferenceRequest:
    """A Messages body; `system` stands before the messages. A stream of this API always ends with its usage."""
    stream = flag(fields, "stream")
    messages = [_read_message(item, index) for index, item in enumerate(filled_list(fields, "messages"))]
    system = read_content(fields.get("system"), "system", _PARTS)
    if system:
        messages.insert(0, Message("system", system))
    return InferenceRequest(
        endpoint=Endpoint.MESSAGES,
        model=model,
        messages=tuple(messages),
        fields=fields,
        tools=tools(fields),
        stream=stream,
        stream_usage=stream,
        max_tokens=count(fields, "max_tokens", 0),
        user=_user(fields),
        cache_salt=text(fields, "cache_salt"),
    )


def _user(fields: Fields) -> str | None:
    metadata = fields.get("metadata")
    return text(metadata, "user_id") if isinstance(metadata, dict) else None


def _read_message(item: Any, index: int) -> Message:
    if type(item) is not dict:
        raise wrong_type(f"messages[{index}]", "an object", item)
    role = item.get("role")
    if type(role) is not str:
        raise wrong_type(f"messages[{index}].role", "a string", role)
    return Message(role, read_content(item.get("content"), f"messages[{index}].content", _PARTS))


def _read_source(part: dict[str, Any], param: str) -> tuple[Part, ...]:
    """An `image` or `document`. A document's pages reach the model as images."""
    source = part.get("source")
    if type(source) is not dict:
        raise wrong_type(f"{param}.source", "an object", source)
    match source.get("type"):
        case "base64":
            data = source.get("data")
            if type(data) is not str:
                raise wrong_type(f"{param}.source.data", "a base64 string", data)
            if not data:
                raise BadRequest(f"{param}.source.data must not be empty.", param=f"{param}.source.data")
            return (Media("image", base64=data, param=param),)
        case "url":
            url = source.get("url")
            if type(url) is not str:
                raise wrong_type(f"{param}.source.url", "a URL", url)
            return (from_url("image", url, param, "source.url"),)
        case "file":
            return (Media("image", uuid=text(source, "file_id"), param=param),)
        case "text" if type(source.get("data")) is str:
            return (Text(source["data"]),)
        case "content":
            return read_content(source.get("content"), f"{param}.source.content", _PARTS)
    return as_json(part, param)


def _read_result(part: dict[str, Any], param: str) -> tuple[Part, ...]:
    """A `tool_result`: which call it answers, then its content, which may hold images."""
    call = {key: value for key, value in part.items() if key not in ("content", "cache_control")}
    return (Text(compact(call)), *read_content(part.get("content"), f"{param}.content", _PARTS))


_PARTS: dict[str, Reader] = {
    "text": text_under("text"),
    "thinking": text_under("thinking"),
    "image": _read_source,
    "document": _read_source,
    "tool_use": as_json,
    "tool_result": _read_result,
}

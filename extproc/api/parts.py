"""Content -> parts, for every dialect.

A content is a string or a list of parts, each an object with a `type`. The types that carry media become `Media`; what
is not known here becomes the text of its JSON, so that two prompts that differ in it never look alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import BadRequest
from .fields import compact, wrong_type
from .requests import Part, Text

Reader = Callable[[dict[str, Any], str], tuple[Part, ...]]


def read_content(content: Any, param: str, readers: dict[str, Reader]) -> tuple[Part, ...]:
    """The parts of one message, in the client's order; none for a null content.

    Args:
        param: where the content stands in the body, such as ``messages[0].content``.
        readers: how the dialect reads the part types that are not plain text.

    Raises:
        BadRequest: a content or a part of the wrong JSON type, or a malformed data URL.
    """
    if type(content) is str:
        return (Text(content),)
    if content is None:
        return ()
    if type(content) is not list:
        raise wrong_type(param, "a string or a list of parts", content)
    parts: list[Part] = []
    for index, part in enumerate(content):
        if type(part) is dict:
            kind = part.get("type")
            if kind == "text" and type(part.get("text")) is str:
                parts.append(Text(part["text"]))
            else:
                parts += _read_part(part, kind, f"{param}[{index}]", readers)
        elif type(part) is str:
            parts.append(Text(part))
        else:
            raise wrong_type(f"{param}[{index}]", "an object or a string", part)
    return tuple(parts)


def text_under(field: str) -> Reader:
    """A reader of parts whose text stands under `field`."""

    def read(part: dict[str, Any], param: str) -> tuple[Part, ...]:
        value = part.get(field)
        if type(value) is not str:
            raise wrong_type(f"{param}.{field}", "a string", value)
        return (Text(value),)

    return read


def as_json(part: dict[str, Any], param: str) -> tuple[Part, ...]:
    """A part that is taken whole, as the text of its JSON."""
    return (Text(compact(part)),)


def _read_part(part: dict[str, Any], kind: Any, param: str, readers: dict[str, Reader]) -> tuple[Part, ...]:
    if kind is None:
        # vLLM takes parts without a type when a field says what they are.
        kind = next((name for name in readers if name in part), None)
        if kind is None:
            raise BadRequest(f"{param}.type is missing.", param=f"{param}.type")
    if type(kind) is not str:
        raise wrong_type(f"{param}.type", "a string", kind)
    return readers.get(kind, as_json)(part, param)

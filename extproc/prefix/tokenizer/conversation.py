"""The messages of a chat completion -> the turns that a chat template is given, as vLLM makes them.

Source: `renderers/chat_utils.py` of vLLM 0.32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from extproc.prefix.tokenizer.content_format import ContentFormat
from extproc.prefix.tokenizer.template import TemplateRefused, Turn

_TEXTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
_IMAGES = ("image_url", "input_image")
_BILLING = "x-anthropic-billing-header"
"""A line that changes with every request of one client; vLLM drops it so that prefixes stay alike."""


class UnknownPart(ValueError):
    """A content part that is not followed here."""


def turns(messages: Sequence[Mapping[str, Any]], form: ContentFormat, placeholder: str) -> list[Turn]:
    """What the template gets.

    Args:
        messages: of the body, as parsed.
        form: what the template takes as content.
        placeholder: stands for an image in a content that is a string; empty if the model takes none.

    Raises:
        UnknownPart: a part that is neither text nor image.
        TemplateRefused: the engine would answer that the messages are wrong.
    """
    return [_turn(message, form, placeholder) for message in messages]


def without_developers(conversation: list[Turn]) -> list[Turn]:
    """For templates that know no developers: those become system messages, and these one, in front."""
    if all(turn["role"] != "developer" for turn in conversation):
        return conversation
    renamed = [
        {key: value for key, value in turn.items() if key != "tools"} | {"role": "system"}
        if turn["role"] == "developer"
        else turn
        for turn in conversation
    ]
    system = [turn for turn in renamed if turn["role"] == "system"]
    if len(system) == 1 and renamed[0] is system[0]:
        return renamed
    content = "\n\n".join(filter(None, (_joined(turn.get("content")) for turn in system)))
    return [{"role": "system", "content": content}, *(turn for turn in renamed if turn["role"] != "system")]


def _turn(message: Mapping[str, Any], form: ContentFormat, placeholder: str) -> Turn:
    role = message["role"]
    parts = _parts(message.get("content"))
    if role == "system":
        parts = _without_billing(parts)
    content: str | list[Any] = _listed(parts) if form == "openai" else _as_string(parts, placeholder)
    if role == "tool" and isinstance(content, list) and all(part["type"] == "text" for part in content):
        content = _joined(content)
    turn: Turn = {"role": role, "content": content}
    if role == "assistant":
        _add_assistants(turn, message)
    elif role == "tool" and "tool_call_id" in message:
        turn["tool_call_id"] = message["tool_call_id"]
    turn |= {name: message[name] for name in ("name", "task") if isinstance(message.get(name), str)}
    if role == "developer":
        turn["tools"] = message.get("tools")
    return turn


def _add_assistants(turn: Turn, message: Mapping[str, Any]) -> None:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        turn["tool_calls"] = [_call(call) for call in calls]
    thought = message.get("reasoning")
    if thought is None:
        thought = message.get("reasoning_content")
    if thought is not None:
        turn["reasoning"] = turn["reasoning_content"] = thought


def _call(call: object) -> dict[str, Any]:
    """A tool call in the order that vLLM's validation gives it; its arguments are an object, whatever was written."""
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        raise TemplateRefused("a tool call without a function")
    arguments = call["function"].get("arguments")
    if isinstance(arguments, str) and arguments:
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            arguments = {}
    function = {"arguments": arguments if isinstance(arguments, dict) else {}, "name": call["function"].get("name")}
    return {"id": call.get("id"), "function": function, "type": call.get("type", "function")}


_Part = tuple[str, str]
"""("text", what it says) or ("image", "")."""


def _parts(content: object) -> list[_Part]:
    if isinstance(content, str):
        return [("text", content)]
    parts = (_part(part) for part in content) if isinstance(content, list) else ()
    return [part for part in parts if part is not None]


def _part(part: object) -> _Part | None:
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, dict):
        raise UnknownPart("a part that is no object")
    kind = part.get("type")
    if part.get("uuid") is not None or kind is None:
        # The engine then goes by the fields alone.
        if "image_url" in part:
            return "image", ""
        raise UnknownPart("a part without a type")
    if kind in _IMAGES:
        return "image", ""
    if kind not in _TEXTS:
        raise UnknownPart("a part of another type")
    text = part.get(_TEXTS[kind])
    if text is None and kind in ("text", "refusal"):
        return None
    if not isinstance(text, str):
        raise UnknownPart("a text that is none")
    return "text", text


def _without_billing(parts: list[_Part]) -> list[_Part]:
    kept = []
    for kind, text in parts:
        if kind == "text" and text.startswith(_BILLING):
            text = text.partition("\n")[2]
            if not text:
                continue
        kept.append((kind, text))
    return kept


def _listed(parts: list[_Part]) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} if kind == "text" else {"type": "image"} for kind, text in parts]


def _as_string(parts: list[_Part], placeholder: str) -> str:
    """Texts, a line each. Images go in front, but for those that the client placed in its text."""
    text = "\n".join(text for kind, text in parts if kind == "text")
    images = sum(kind == "image" for kind, _ in parts)
    if not images or not placeholder:
        return text
    missing = images - text.count(placeholder)
    if missing < 0:
        raise TemplateRefused("more placeholders than images")
    return "\n".join([placeholder] * missing + ([text] if text else []))


def _joined(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if "text" in part)
    return content if isinstance(content, str) else ""

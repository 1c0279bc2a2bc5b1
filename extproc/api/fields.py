"""Reading the fields of a parsed body: what the gateway relies on is checked, the rest is left to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .errors import BadRequest

Fields = Mapping[str, Any]


def compact(value: object) -> str:
    """JSON without white space, keys in the client's order. `value` comes from a parsed body."""
    return orjson.dumps(value).decode()


def wrong_type(param: str, expected: str, value: object) -> BadRequest:
    """The error for a field of another type; it names types, never the value."""
    if value is None:
        return BadRequest(f"{param} is missing; it must be {expected}.", param=param)
    return BadRequest(f"{param} must be {expected}, not {_json_type(value)}.", param=param)


def flag(fields: Fields, name: str) -> bool:
    """A boolean that is false when absent or null."""
    value = fields.get(name)
    if value is None or value is False:
        return False
    if value is True:
        return True
    raise wrong_type(name, "true or false", value)


def count(fields: Fields, name: str, least: int) -> int | None:
    """A whole number of at least `least`, or None when absent or null. Like the engines, takes 3.0 for 3."""
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise wrong_type(name, "a whole number", value)
    if value < least:
        raise BadRequest(f"{name} must be at least {least}.", param=name)
    return value


def answers(fields: Fields) -> int:
    """How many answers are wanted: `n`."""
    return count(fields, "n", 1) or 1


def text(fields: Fields, name: str) -> str | None:
    """A string, or None when it is anything else: for fields that only the engine judges."""
    value = fields.get(name)
    return value if isinstance(value, str) else None


def usage_chunk(fields: Fields) -> bool:
    """Whether `stream_options.include_usage` asks for a last chunk with the usage."""
    options = fields.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def tools(fields: Fields, name: str = "tools") -> str:
    """The tool definitions as compact JSON; empty when there are none."""
    value = fields.get(name)
    return compact(value) if value else ""


def filled_list(fields: Fields, name: str) -> list[Any]:
    """A list with at least one item."""
    value = fields.get(name)
    if not isinstance(value, list):
        raise wrong_type(name, "a list", value)
    if not value:
        raise BadRequest(f"{name} must not be empty.", param=name)
    return value


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"

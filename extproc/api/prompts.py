"""Bare prompts: what /v1/completions and /v1/embeddings take besides messages."""

from __future__ import annotations

from typing import Any

from .errors import BadRequest
from .fields import wrong_type
from .requests import Part, Text, TokenIds


def read_prompts(value: Any, param: str) -> tuple[Part, ...]:
    """A string, a list of strings, a list of token ids, or a list of such lists.

    Raises:
        BadRequest: anything else, and an empty list.
    """
    if type(value) is str:
        return (Text(value),)
    if type(value) is not list:
        raise wrong_type(param, "a string, a list of strings, or token ids", value)
    kinds = set(map(type, value))
    if kinds == {str}:
        return tuple(map(Text, value))
    if kinds == {int}:
        return (TokenIds(tuple(value)),)
    if kinds == {list}:
        for index, ids in enumerate(value):
            if not set(map(type, ids)) <= {int}:
                raise BadRequest(f"{param}[{index}] must hold whole numbers only.", param=f"{param}[{index}]")
        return tuple([TokenIds(tuple(ids)) for ids in value])
    if not value:
        raise BadRequest(f"{param} must not be empty.", param=param)
    raise BadRequest(f"{param} must hold only strings, only token ids, or only lists of token ids.", param=param)

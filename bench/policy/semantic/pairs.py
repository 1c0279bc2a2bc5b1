"""Pairs of requests, and whether one answer is right for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.errors import BenchFailed
from extproc.api import body
from extproc.api.errors import GatewayError
from extproc.api.requests import Endpoint, InferenceRequest

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two chat requests, in the order in which they are made."""

    category: str
    first: Body
    second: Body
    same_answer: bool


def understood(request: Body) -> InferenceRequest:
    """A request as the gateway reads it.

    Raises:
        GatewayError: the gateway would refuse it.
    """
    return body.parse(Endpoint.CHAT_COMPLETIONS, json.dumps(request).encode())


def read(path: Path) -> list[Pair]:
    """The pairs of a file, one JSON object a line: ``{first, second, same_answer}`` and perhaps ``category``.

    Raises:
        BenchFailed: the file cannot be read, or a line of it is no pair; the text says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchFailed(f"{path}: {error}") from None
    pairs = list(_read_lines(path, lines))
    if not pairs:
        raise BenchFailed(f"{path}: no pairs in it")
    return pairs


def _read_lines(path: Path, lines: list[str]) -> Iterator[Pair]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _pair(json.loads(line))
        except json.JSONDecodeError as error:
            raise BenchFailed(f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}") from None
        except GatewayError as error:
            raise BenchFailed(f"{path}, line {number}: not a chat request: {error.message}") from None
        except ValueError as error:
            raise BenchFailed(f"{path}, line {number}: {error}") from None


def _pair(fields: object) -> Pair:
    if not isinstance(fields, dict):
        raise ValueError("a pair must be an object with first, second and same_answer")
    for side in ("first", "second"):
        if not isinstance(fields.get(side), dict):
            raise ValueError(f"{side} must be a chat request, as an object")
        understood(fields[side])
    if not isinstance(fields.get("same_answer"), bool):
        raise ValueError("same_answer must be true or false")
    return Pair(str(fields.get("category", "given")), fields["first"], fields["second"], fields["same_answer"])

"""Setting a field of a body and nothing else: the engine reads the rest as the client wrote it, byte for byte."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_TOKEN = re.compile(rb'"[^"]*"|[\[{]|[\]}]')
_LITERAL = re.compile(rb"[^,\]} \t\r\n]*")


def set_field(body: bytes, name: str, value: Any, *, present: bool = False) -> bytes:
    """`body` with a top-level field set, wherever it stands and however often; added if it is not there.

    Args:
        body: a valid JSON object that is not empty.
        name: ASCII letters and underscores.
        present: it is known to be there, which saves looking closely.

    Nearly all the work is done by methods of bytes: 1 MB of one long string takes about 0.3 ms, of 50,000 short
    strings with escapes about 4 ms.
    """
    masked = body
    if b"\\" in body:
        # Same length, no escaped quotes: afterwards every quote begins or ends a string.
        masked = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    written = orjson.dumps(value)
    keys = list(_key(name).finditer(masked))
    if not present or len(keys) > 1:
        keys = _top_level(keys, masked)
    if not keys:
        start = body.index(b"{") + 1
        return b"".join((body[:start], orjson.dumps(name), b":", written, b",", body[start:]))
    pieces: list[bytes] = []
    copied = 0
    for key in keys:
        pieces += body[copied : key.end()], written
        copied = _value_end(masked, key.end())
    pieces.append(body[copied:])
    return b"".join(pieces)


@lru_cache(maxsize=16)
def _key(name: str) -> re.Pattern[bytes]:
    """The key in any spelling that JSON allows, up to its value."""
    letters = "".join(f"(?:{letter}|{_escape(letter)})" for letter in name)
    return re.compile(f'"{letters}"[ \\t\\r\\n]*:[ \\t\\r\\n]*'.encode())


def _escape(letter: str) -> str:
    return r"\\u" + "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(letter):04x}")


def _top_level(keys: list[re.Match[bytes]], masked: bytes) -> list[re.Match[bytes]]:
    top_level = []
    scanned = depth = 0
    for key in keys:
        depth += _depth_change(masked[scanned : key.start()])
        scanned = key.start()
        if depth == 1:
            top_level.append(key)
    return top_level


def _depth_change(masked: bytes) -> int:
    """Brackets opened less brackets closed in a stretch that begins outside a string."""
    # Dropping adjacent quotes drops the strings that hold no bracket; it keeps what is outside outside.
    skeleton = masked.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    outside = b"".join(skeleton.split(b'"')[::2])
    return outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")


def _value_end(masked: bytes, start: int) -> int:
    if masked[start] == ord('"'):
        return masked.index(b'"', start + 1) + 1
    if masked[start] not in b"[{":
        literal = _LITERAL.match(masked, start)
        return literal.end() if literal else start
    depth = 0
    for token in _TOKEN.finditer(masked, start):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return len(masked)

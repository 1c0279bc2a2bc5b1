"""Server-sent events, read and written as the WHATWG HTML standard (9.2) has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Chunks, cut anywhere -> the data of each event.

    Lines end in LF, CR LF or CR; comments and other fields are passed over, `data` lines of one event are joined. An
    event that the stream does not finish with an empty line is not one.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._at_start = True
        self.held_bytes = 0
        """Bytes of the event that is not finished yet."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk finishes, in order."""
        self._pieces.append(chunk)
        self.held_bytes += len(chunk)
        if b"\n" not in chunk and b"\r" not in chunk and not (len(self._pieces) > 1 and self._pieces[-2][-1:] == b"\r"):
            return []
        text = b"".join(self._pieces)
        held_back = b""
        if text.endswith(b"\r"):  # whether a line feed belongs to it is not known yet
            text, held_back = text[:-1], b"\r"
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._pieces = [rest + held_back]
        events = [data for line in lines if (data := self._take(line)) is not None]
        self.held_bytes = len(self._pieces[0]) + sum(map(len, self._data))
        return events

    def _take(self, line: bytes) -> bytes | None:
        if self._at_start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        if not line:
            data = b"\n".join(self._data)
            had_data = bool(self._data)
            self._data = []
            return data if had_data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return None


def event(data: Mapping[str, Any], *, name: str = "") -> bytes:
    """One event of JSON, with an `event:` line where the dialect names its events."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(data) + b"\n\n"


DONE = b"[DONE]"
"""The data of the event that ends OpenAI's streams."""

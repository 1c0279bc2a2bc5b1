"""The samples of one metric on a page in Prometheus's text format, without reading the rest of the page.

Format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MOST_MENTIONS = 2048
"""Of one name on one page: comments, and a line for each rank. A page beyond that would hold up the event loop."""
_LONGEST_LINE_BYTES = 16 * 1024

_LABEL = re.compile(rb'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*(?:,|(?=\}))')
_LABELS_END = re.compile(rb"[ \t]*\}")
_ESCAPE = re.compile(r"\\(.)")


class Unparseable(ValueError):
    """A line that begins with the name is not a sample, or there are too many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. The value may be infinite or not a number."""

    labels: Mapping[str, str]
    value: float


def samples(page: bytes, name: bytes) -> list[Sample]:
    r"""Every sample of a metric.

    Raises:
        Unparseable: any line of the metric is not a sample, or the page names it too often.

    >>> samples(b'# TYPE up gauge\nup{zone="a"} 1\nup_total 7\n', b"up")
    [Sample(labels={'zone': 'a'}, value=1.0)]
    """
    return [_sample(rest) for rest in _lines(page, name)]


def _lines(page: bytes, name: bytes) -> Iterator[bytes]:
    """What follows the name on every line that begins with it."""
    at = page.find(name)
    for _ in range(_MOST_MENTIONS):
        if at < 0:
            return
        after = at + len(name)
        if page[after : after + 1] in (b"{", b" ", b"\t", b"\r", b"\n", b"") and _begins_line(page, at):
            end = page.find(b"\n", after, after + _LONGEST_LINE_BYTES)
            yield page[after : after + _LONGEST_LINE_BYTES if end < 0 else end]
        at = page.find(name, after)
    raise Unparseable(f"more than {_MOST_MENTIONS} times {name!r}")


def _begins_line(page: bytes, at: int) -> bool:
    indent_from = max(0, at - 16)
    before = page[indent_from:at].rstrip(b" \t")
    return before.endswith(b"\n") or (not before and indent_from == 0)


def _sample(rest: bytes) -> Sample:
    """From `{labels} value timestamp`, of which labels and timestamp are optional."""
    labels: dict[str, str] = {}
    rest = rest.lstrip(b" \t")
    at = 0
    if rest.startswith(b"{"):
        at = 1
        while label := _LABEL.match(rest, at):
            labels[label[1].decode()] = _ESCAPE.sub(_unescape, label[2].decode(errors="replace"))
            at = label.end()
        end = _LABELS_END.match(rest, at)
        if end is None:
            raise Unparseable(f"labels: {rest[:200]!r}")
        at = end.end()
    numbers = rest[at:].split()
    if not 1 <= len(numbers) <= 2 or any(b"_" in number for number in numbers):
        raise Unparseable(f"value: {rest[at : at + 200]!r}")
    try:
        value, *_ = (float(number) for number in numbers)
    except ValueError:
        raise Unparseable(f"value: {rest[at : at + 200]!r}") from None
    return Sample(labels, value)


def _unescape(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]

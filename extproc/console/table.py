"""Answers as text: columns for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson


def as_json(answer: Any) -> str:
    """As it came, indented."""
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def as_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Columns as wide as their widest cell.

    Args:
        right: headings of columns whose cells end at the same place.

    >>> print(as_table(("NAME", "TOKENS"), [("a", "7"), ("bc", "1200")], right=("TOKENS",)))
    NAME  TOKENS
    a          7
    bc      1200
    """
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in right else cell.ljust(width)
            for heading, cell, width in zip(headings, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def seconds(value_s: float) -> str:
    """A span, short.

    >>> seconds(0.0123), seconds(4.2), seconds(75), seconds(7384), seconds(200000)
    ('12 ms', '4.20 s', '1m15s', '2h03m', '2d07h')
    """
    if value_s < 1:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 60:
        return f"{value_s:.2f} s"
    whole = int(value_s)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def count(value: float) -> str:
    """A number, short.

    >>> count(7), count(12_345), count(1_234_567)
    ('7', '12.3k', '1.23M')
    """
    if value < 1000:
        return f"{value:.0f}"
    return f"{value / 1000:.3g}k" if value < 999_500 else f"{value / 1e6:.3g}M"


def share(part: float) -> str:
    """A share as a percentage."""
    return f"{part * 100:.0f} %"

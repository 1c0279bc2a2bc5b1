"""A decision as a response header: short enough for every proxy on the way back."""

from __future__ import annotations

import json

from extproc.routing import Ranking

MAX_BYTES = 6000
"""Common proxies keep 8 KiB for all headers of a response."""
_SHOWN = (8, 4, 2, 1, 0)


def receipt_header(ranking: Ranking) -> str:
    """The receipt as compact JSON of at most `MAX_BYTES` ASCII characters; it shows fewer replicas if it must."""
    text = ""
    for limit in _SHOWN:
        text = json.dumps(ranking.receipt(limit), separators=(",", ":"))
        if len(text) <= MAX_BYTES:
            break
    return text

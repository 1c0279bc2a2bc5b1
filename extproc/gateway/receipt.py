"""What a reply says of the decision: in a header, short enough for every proxy on the way back, and in its JSON."""

from __future__ import annotations

import json
from functools import lru_cache

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


@lru_cache(maxsize=1024)
def about(cache: str, provider: str, upstream_model: str) -> str:
    """What the `kvgate` object of a reply begins with, as the inside of a JSON object."""
    return json.dumps({"cache": cache, "provider": provider, "upstream_model": upstream_model}, separators=(",", ":"))[
        1:-1
    ]

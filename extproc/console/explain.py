"""`kvgate explain`: asks a running gateway where it would send a request, and puts its answer in a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
from google.api.httpbody_pb2 import HttpBody

from extproc.admin.v1 import admin_pb2 as pb
from extproc.console import table
from extproc.console.link import Whereabouts, as_data, open_link


def read_body(file: str) -> bytes:
    """The request body in a file, or on standard input if it is called `-`.

    Raises:
        ValueError: it is not JSON.
        OSError: it cannot be read.
    """
    body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        name = "standard input" if file == "-" else file
        raise ValueError(f"{name} is not JSON: {error}") from None
    return body


def ask(where: Whereabouts, path: str, body: bytes, session: str) -> dict[str, Any]:
    """The answer of a gateway.

    Raises:
        Unreachable: nobody listens there.
        Refusal: the request would be refused.
    """
    request = pb.ExplainRequest(
        path=path, request=HttpBody(content_type="application/json", data=body), session=session
    )
    with open_link(where) as link:
        return as_data(link.ask(lambda stub: stub.Explain, request))


def as_table(answer: dict[str, Any]) -> str:
    """The answer for a person: what was decided, and a line a replica, best first."""
    receipt = answer["receipt"]
    rows = [_HEADINGS, *(_row(each, receipt["replica"]) for each in receipt["replicas"])]
    for heading, name in (("RESTORABLE", "restorable_tokens"), ("REMOTE", "remote_tokens")):
        if not any(name in each for each in receipt["replicas"]):
            at = rows[0].index(heading)
            rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    return "\n".join(
        [
            f"{answer['model']}: {answer['prompt_tokens']} prompt tokens in {answer['prompt_blocks']} blocks",
            f"goes to {receipt['replica']} ({receipt['strategy']}: {receipt['reason']})",
            "",
            table.as_table(rows[0], rows[1:], right=_NUMBERS),
        ]
    )


_NUMBERS = ("TTFT", "WAIT", "MATCHED", "RESTORABLE", "REMOTE", "UNCACHED", "TOKENS/S", "BASE", "IN FLIGHT", "COST")
_HEADINGS = ("", "REPLICA", *_NUMBERS, "TERMS")


def _row(replica: dict[str, Any], chosen: str) -> tuple[str, ...]:
    terms = [f"{name}={value:.4g}" for name, value in sorted(replica.get("terms", {}).items())]
    if replica.get("note"):
        terms.insert(0, replica["note"])
    return (
        "*" if replica["name"] == chosen else "",
        replica["name"],
        f"{replica['ttft_s']:.3f} s",
        f"{replica['wait_s']:.3f} s",
        str(replica["matched_tokens"]),
        str(replica.get("restorable_tokens", 0)),
        str(replica.get("remote_tokens", 0)),
        str(replica["uncached_tokens"]),
        str(replica["tokens_per_s"]),
        f"{replica['base_s']:.3f} s",
        str(replica["inflight"]),
        f"{replica['cost']:.4g}",
        " ".join(terms),
    )

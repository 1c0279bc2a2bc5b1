"""`kvgate explain`: asks a running gateway where it would send a request, and puts its answer in a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict

from extproc.admin.v1 import admin_pb2, admin_pb2_grpc
from extproc.control.bootstrap import ProcessorTarget

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 30.0


class NotExplained(RuntimeError):
    """The gateway could not be asked, or would refuse the request."""


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


def ask(address: str, path: str, body: bytes, session: str) -> dict[str, Any]:
    """The answer of the gateway whose processor listens there.

    Args:
        address: `unix:/path` or `host:port`, as `Settings.processor_address` has it.

    Raises:
        NotExplained: nobody listens there, or the request would be refused.
    """
    target = ProcessorTarget.parse(address)
    silence = f"no gateway answers at {target}; is it running, with this configuration?"
    if target.socket is not None and not Path(target.socket).exists():
        raise NotExplained(silence)
    with grpc.insecure_channel(str(target)) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            raise NotExplained(silence) from None
        request = admin_pb2.ExplainRequest(
            path=path, request=HttpBody(content_type="application/json", data=body), session=session
        )
        try:
            response = admin_pb2_grpc.AdminStub(channel).Explain(request, timeout=ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            raise NotExplained(f"{error.code().name.lower().replace('_', ' ')}: {error.details()}") from None
    answer: dict[str, Any] = _whole(
        MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
    return answer


def as_json(answer: dict[str, Any]) -> str:
    """The answer as it came, indented."""
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def as_table(answer: dict[str, Any]) -> str:
    """The answer for a person: what was decided, and a line a replica, best first."""
    receipt = answer["receipt"]
    rows = [_HEADINGS, *(_row(each, receipt["replica"]) for each in receipt["replicas"])]
    if not any("restorable_tokens" in each for each in receipt["replicas"]):
        at = _HEADINGS.index("RESTORABLE")
        rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    headings = rows[0]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines = [
        "  ".join(cell.rjust(width) if heading in _NUMBERS else cell.ljust(width) for heading, cell, width in columns)
        for columns in (zip(headings, row, widths, strict=True) for row in rows)
    ]
    return "\n".join(
        [
            f"{answer['model']}: {answer['prompt_tokens']} prompt tokens in {answer['prompt_blocks']} blocks",
            f"goes to {receipt['replica']} ({receipt['strategy']}: {receipt['reason']})",
            "",
            *(line.rstrip() for line in lines),
        ]
    )


_NUMBERS = ("TTFT", "WAIT", "MATCHED", "RESTORABLE", "UNCACHED", "TOKENS/S", "BASE", "IN FLIGHT", "COST")
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
        str(replica["uncached_tokens"]),
        str(replica["tokens_per_s"]),
        f"{replica['base_s']:.3f} s",
        str(replica["inflight"]),
        f"{replica['cost']:.4g}",
        " ".join(terms),
    )


def _whole(value: Any) -> Any:
    """The same with whole numbers as such: a protobuf Struct knows only floats."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

"""Trace files: one JSON object a line, in one of two formats. The README of this folder documents both.

`load` tells them apart by the first line: a line with `segments` makes it the segment format, one with `hash_ids` the
Mooncake format (github.com/kvcache-ai/Mooncake, FAST'25 release).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from bench.common.errors import BenchFailed
from bench.routing.request import BenchRequest, Workload
from bench.routing.segments import Segment
from bench.routing.segments import request as from_segments
from extproc.prefix import Chain

MOONCAKE_BLOCK_TOKENS = 512
SEGMENT_BLOCK_TOKENS = 16


def load(path: Path, *, time_scale: float = 1.0, block_size: int | None = None, limit: int | None = None) -> Workload:
    """A trace as a workload, sorted by time.

    Args:
        time_scale: arrival times are multiplied by it; 0.5 is twice the load.
        block_size: tokens in an engine block; by default the format's own (512 or 16).
        limit: only so many requests, the first ones.

    Raises:
        BenchFailed: the file cannot be read, is empty, or a line is not what the format says; names the line.
    """
    requests: list[BenchRequest] = []
    read = None
    for number, record in _records(path):
        if limit is not None and len(requests) >= limit:
            break
        try:
            if read is None:
                read = _reader(record)
                block_size = block_size or (MOONCAKE_BLOCK_TOKENS if read is _mooncake else SEGMENT_BLOCK_TOKENS)
            assert block_size is not None
            arrival_s = _number(record, "timestamp") / 1000.0 * time_scale
            requests.append(read(record, f"{number}", arrival_s, block_size))
        except _Wrong as error:
            raise BenchFailed(f"{path}: line {number}: {error}") from None
    if block_size is None or not requests:
        raise BenchFailed(f"{path}: no requests in it")
    requests.sort(key=lambda request: request.arrival_s)
    return Workload(path.stem, tuple(requests), block_size)


class _Wrong(Exception):
    """What is wrong with a line."""


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise BenchFailed(f"{path}: line {number}: not JSON: {error}") from None
                if not isinstance(record, dict):
                    raise BenchFailed(f"{path}: line {number}: not a JSON object")
                yield number, record
    except OSError as error:
        raise BenchFailed(f"{path}: {error.strerror or error}") from None


def _reader(record: dict[str, Any]) -> Any:
    if "segments" in record:
        return _segments
    if "hash_ids" in record:
        return _mooncake
    raise _Wrong("neither `hash_ids` (Mooncake) nor `segments` is in it")


def _mooncake(record: dict[str, Any], name: str, arrival_s: float, block_size: int) -> BenchRequest:
    prompt_tokens = _count(record, "input_length", at_least=1)
    ids = record.get("hash_ids")
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise _Wrong("`hash_ids` is not a list of integers")
    if len(ids) > -(-prompt_tokens // block_size):
        raise _Wrong(f"{len(ids)} hash_ids are more than {prompt_tokens} tokens have in blocks of {block_size}")
    full = tuple(ids[: prompt_tokens // block_size])
    return BenchRequest(
        id=name,
        arrival_s=arrival_s,
        chain=Chain(full, (block_size,) * len(full), prompt_tokens),
        prompt_tokens=prompt_tokens,
        output_tokens=_count(record, "output_length"),
        block_hashes=full,
        session=_session(record),
    )


def _segments(record: dict[str, Any], name: str, arrival_s: float, block_size: int) -> BenchRequest:
    items = record.get("segments")
    if not isinstance(items, list):
        raise _Wrong("`segments` is not a list")
    segments = [_segment(item, place) for place, item in enumerate(items)]
    if not sum(segment.tokens for segment in segments):
        raise _Wrong("the prompt has no tokens")
    output_id = record.get("output_id")
    output_id = f"\x1eoutput of line {name}" if output_id is None else str(output_id)
    output = Segment("text", output_id, _count(record, "output_length"))
    return from_segments(name, arrival_s, segments, output, block_size=block_size, session=_session(record))


def _segment(item: object, place: int) -> Segment:
    if not isinstance(item, dict):
        raise _Wrong(f"segment {place} is not an object")
    kind, name = item.get("kind"), item.get("id")
    if kind != "text" and kind != "image":
        raise _Wrong(f"segment {place}: `kind` is {kind!r}, neither text nor image")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise _Wrong(f"segment {place}: `id` is neither a string nor an integer")
    try:
        return Segment(kind, str(name), _count(item, "tokens", at_least=1 if kind == "image" else 0))
    except _Wrong as error:
        raise _Wrong(f"segment {place}: {error}") from None


def _session(record: dict[str, Any]) -> str | None:
    session = record.get("session")
    return None if session is None else str(session)


def _count(record: dict[str, Any], name: str, at_least: int = 0) -> int:
    value = _number(record, name)
    if value != int(value) or value < at_least:
        raise _Wrong(f"`{name}` is {value}, not a whole number of at least {at_least}")
    return int(value)


def _number(record: dict[str, Any], name: str) -> float:
    if name not in record:
        raise _Wrong(f"`{name}` is missing")
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _Wrong(f"`{name}` is {value!r}, not a number of at least 0")
    return float(value) if isinstance(value, float) else value

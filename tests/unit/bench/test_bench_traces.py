"""Trace files in both formats, and what is said of lines that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.common.errors import BenchFailed
from bench.routing import traces

MOONCAKE = {"timestamp": 1500, "input_length": 1100, "output_length": 20, "hash_ids": [7, 8, 9]}
SEGMENTS = {
    "timestamp": 0,
    "segments": [{"kind": "text", "id": "s", "tokens": 100}, {"kind": "image", "id": "i", "tokens": 1369}],
    "output_length": 5,
}


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records))
    return path


def test_a_mooncake_line_is_its_full_blocks(tmp_path: Path) -> None:
    load = traces.load(written(tmp_path, MOONCAKE | {"session": "u1"}))

    (request,) = load.requests
    assert load.block_size == 512
    assert (request.arrival_s, request.prompt_tokens, request.output_tokens) == (1.5, 1100, 20)
    assert request.block_hashes == request.chain.hashes == (7, 8)  # the last block is partial, so nobody hits it
    assert request.chain.weights == (512, 512)
    assert request.session == "u1"


def test_a_segment_line_is_cut_for_engine_and_gateway(tmp_path: Path) -> None:
    load = traces.load(written(tmp_path, SEGMENTS))

    (request,) = load.requests
    assert load.block_size == 16
    assert request.prompt_tokens == 1469
    assert len(request.block_hashes) == 1469 // 16
    assert request.chain.weights == (64, 36, 1369)


def test_an_output_id_makes_an_answer_part_of_a_later_prompt(tmp_path: Path) -> None:
    ask, answer = {"kind": "text", "id": "q", "tokens": 64}, {"kind": "text", "id": "a", "tokens": 64}
    first = {"timestamp": 0, "segments": [ask], "output_length": 64, "output_id": "a"}
    second = {"timestamp": 9, "segments": [ask, answer], "output_length": 1}

    one, two = traces.load(written(tmp_path, first, second)).requests

    assert one.block_hashes + one.output_block_hashes == two.block_hashes


def test_requests_are_sorted_scaled_and_limited(tmp_path: Path) -> None:
    path = written(tmp_path, MOONCAKE, MOONCAKE | {"timestamp": 500}, "", MOONCAKE | {"timestamp": 900})

    assert [each.arrival_s for each in traces.load(path, time_scale=2.0).requests] == [1.0, 1.8, 3.0]
    assert len(traces.load(path, limit=2).requests) == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"timestamp": 0}, "neither `hash_ids`"),
        (MOONCAKE | {"timestamp": -1}, "`timestamp` is -1"),
        (MOONCAKE | {"timestamp": True}, "`timestamp` is True"),
        (MOONCAKE | {"input_length": 0}, "`input_length` is 0"),
        (MOONCAKE | {"input_length": 1.5}, "`input_length` is 1.5"),
        (MOONCAKE | {"hash_ids": ["a"]}, "not a list of integers"),
        (MOONCAKE | {"input_length": 1024}, "3 hash_ids are more than 1024 tokens have in blocks of 512"),
        ({key: value for key, value in MOONCAKE.items() if key != "output_length"}, "`output_length` is missing"),
        (SEGMENTS | {"segments": []}, "no tokens"),
        (SEGMENTS | {"segments": [{"kind": "video", "id": "v", "tokens": 1}]}, "segment 0: `kind` is 'video'"),
        (SEGMENTS | {"segments": [{"kind": "text", "id": None, "tokens": 1}]}, "segment 0: `id`"),
        (SEGMENTS | {"segments": [{"kind": "text", "id": "t", "tokens": "9"}]}, "segment 0: `tokens` is '9'"),
        (SEGMENTS | {"segments": ["text"]}, "segment 0 is not an object"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: object, complaint: str) -> None:
    good = SEGMENTS if isinstance(line, dict) and "segments" in line else MOONCAKE
    path = written(tmp_path, good, line) if line != {"timestamp": 0} else written(tmp_path, "", line)

    with pytest.raises(BenchFailed, match="line 2: ") as caught:
        traces.load(path)
    assert complaint in str(caught.value)


def test_an_empty_or_missing_trace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="no requests"):
        traces.load(written(tmp_path))
    with pytest.raises(BenchFailed, match="No such file"):
        traces.load(tmp_path / "nowhere.jsonl")

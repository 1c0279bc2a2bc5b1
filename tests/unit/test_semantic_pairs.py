"""The pairs of the semantic bench: those it makes, and those it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.common.errors import BenchFailed
from bench.policy.semantic.generate import chat, generated
from bench.policy.semantic.pairs import read
from bench.policy.semantic.run import asked_once, asked_together
from extproc.caching.semantic import HashingEmbedder, SemanticSettings

GOOD = {"first": chat("What is 1?"), "second": chat("What is 2?"), "same_answer": False}


async def test_no_near_miss_gets_the_answer_of_its_neighbour() -> None:
    pairs = [pair for pair in generated() if not pair.same_answer]
    assert len(pairs) >= 200
    assert all(json.dumps(pair.first) != json.dumps(pair.second) for pair in pairs)
    outcomes = await asked_once(HashingEmbedder(), SemanticSettings(), pairs)
    assert [each.pair for each in outcomes if each.hit] == []
    assert await asked_together(HashingEmbedder(), SemanticSettings(), pairs) == 0


async def test_most_paraphrases_get_the_answer() -> None:
    pairs = [pair for pair in generated() if pair.same_answer]
    assert len(pairs) >= 60
    outcomes = await asked_once(HashingEmbedder(), SemanticSettings(), pairs)
    assert sum(each.hit for each in outcomes) >= 0.7 * len(pairs)


def test_pairs_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "same_answer": True, "category": "mine"}) + "\n")
    assert [(pair.category, pair.same_answer) for pair in read(path)] == [("given", False), ("mine", True)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", r"line 2: not JSON"),
        ("[]", r"line 2: a pair must be an object"),
        (json.dumps({**GOOD, "second": "What is 2?"}), r"line 2: second must be a chat request"),
        (json.dumps({**GOOD, "same_answer": 1}), r"line 2: same_answer must be true or false"),
        (json.dumps({**GOOD, "first": {"model": "m"}}), r"line 2: not a chat request: messages is missing"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(BenchFailed, match=complaint):
        read(path)

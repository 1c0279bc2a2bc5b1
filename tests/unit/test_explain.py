"""`kvgate explain` short of a gateway: what it reads, what it prints, how it fails."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extproc.cli import main
from extproc.console.explain import as_table, read_body

LINE: dict[str, Any] = {
    "name": "r0",
    "cost": 0.034259,
    "ttft_s": 0.0343,
    "wait_s": 0.5,
    "matched_tokens": 792,
    "uncached_tokens": 34,
    "tokens_per_s": 8000,
    "base_s": 0.03,
    "inflight": 2,
}
ANSWER: dict[str, Any] = {
    "model": "m",
    "replica": "r0",
    "prompt_tokens": 826,
    "prompt_blocks": 12,
    "receipt": {
        "strategy": "prefix_kv_aware",
        "reason": "warm",
        "prompt_tokens": 826,
        "replica": "r0",
        "replicas": [LINE, {**LINE, "name": "another", "note": "busy", "terms": {"wait_s": 1 / 3}}],
    },
}


def test_the_table_marks_the_chosen_replica_and_shows_every_term() -> None:
    title, reason, _, heading, first, second = as_table(ANSWER).splitlines()
    assert title == "m: 826 prompt tokens in 12 blocks"
    assert reason == "goes to r0 (prefix_kv_aware: warm)"
    assert heading.split()[:4] == ["REPLICA", "TTFT", "WAIT", "MATCHED"]
    assert " ".join(first.split()) == "* r0 0.034 s 0.500 s 792 34 8000 0.030 s 2 0.03426"
    assert second.split()[0] == "another"
    assert second.endswith("busy wait_s=0.3333")
    assert heading.index("COST") + len("COST") == first.index("0.03426") + len("0.03426")


def test_what_can_be_restored_has_a_column_where_there_is_any() -> None:
    line = {**LINE, "restorable_tokens": 640, "restore_s": 0.0107}
    receipt = {**ANSWER["receipt"], "replicas": [line, {**LINE, "name": "another"}]}
    _, _, _, heading, first, second = as_table({**ANSWER, "receipt": receipt}).splitlines()
    for row, tokens in ((heading, "RESTORABLE"), (first, "640"), (second, "0")):
        assert row[: heading.index("RESTORABLE") + len("RESTORABLE")].split()[-1] == tokens
    assert "REMOTE" not in heading
    assert "RESTORABLE" not in as_table(ANSWER)


def test_so_has_what_only_the_remote_tier_holds() -> None:
    line = {**LINE, "restorable_tokens": 640, "remote_tokens": 512, "restore_s": 0.0107}
    receipt = {**ANSWER["receipt"], "replicas": [line, {**LINE, "name": "another"}]}
    _, _, _, heading, first, second = as_table({**ANSWER, "receipt": receipt}).splitlines()
    for row, tokens in ((heading, "REMOTE"), (first, "512"), (second, "0")):
        assert row[: heading.index("REMOTE") + len("REMOTE")].split()[-1] == tokens


def test_a_request_may_come_by_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"{}")))
    assert read_body("-") == b"{}"


def test_what_is_not_json_is_said_so_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"model": m}')
    with pytest.raises(ValueError, match=r"request\.json is not JSON: .*line 1 column 11"):
        read_body(str(file))


@pytest.mark.parametrize("listen", [None, "127.0.0.1:1"])
def test_without_a_gateway_it_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, listen: str | None
) -> None:
    monkeypatch.setattr("extproc.console.link.CONNECT_TIMEOUT_S", 0.2)
    config = tmp_path / "kvgate.yaml"
    config.write_text(f"processor: {{run_dir: {tmp_path}{f', listen: {listen!r}' if listen else ''}}}\n")
    (tmp_path / "request.json").write_text("{}")
    assert main(["explain", "-c", str(config), str(tmp_path / "request.json")]) == 3
    assert f"no gateway answers at {listen or f'unix:{tmp_path}/processor.sock'}" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_an_error_and_no_file_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(tmp_path / "nothing.json")]) == 1
    assert "nothing.json" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        main(["explain"])
    assert usage.value.code == 2

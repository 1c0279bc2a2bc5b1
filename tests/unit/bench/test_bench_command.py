"""`python -m bench.routing`, end to end on small inputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.routing import __main__ as command
from bench.routing.arguments import parse


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    lines = [
        {"timestamp": i * 400, "input_length": 1100, "output_length": 20, "hash_ids": [i % 4, 10 + i % 4, 100 + i]}
        for i in range(24)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_trace_gives_a_table_and_a_document(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    arguments = f"--trace {trace} --replicas 2 --blocks 20 --prefill-tok-s 4000 --policies round_robin,sticky,pooled"

    assert command.main([*arguments.split(), "--json", str(out)]) == 0

    document = json.loads(out.read_text())
    assert [run["policy"] for run in document["runs"]] == ["round_robin", "sticky", "pooled"]
    assert all(run["outcome"]["requests"] == 24 for run in document["runs"])
    assert "| sticky " in capsys.readouterr().out


def test_a_bad_trace_is_one_sentence_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("{}\n")

    assert command.main(["--trace", str(path)]) == 1
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--grid --trace x",
        "--grid --policies nobody",
        "--grid --workloads nothing",
        "--grid --jobs 0",
        "--trace x --prefill-tok-s 0",
        "--trace x --prefill-tok-s inf",
        "--trace x --replicas 2 --speeds 1",
        "--trace x --policies ,",
    ],
)
def test_wrong_arguments_are_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments.split())
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_grid_runs_once_and_is_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--grid", "--quick", "--jobs", "1", "--workloads", "images_12", "--policies", "round_robin,sticky"]
    arguments += ["--folder", str(tmp_path / "kept"), "--json", str(tmp_path / "out.json")]

    assert command.main(arguments) == 0
    assert "0 results known, 4 to run" in capsys.readouterr().out
    assert command.main(arguments) == 0
    assert "4 results known, 0 to run" in capsys.readouterr().out


def test_plots_come_as_png_and_svg(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = f"--trace {trace} --replicas 2 --blocks 20 --policies round_robin --json {tmp_path}/o.json"

    assert command.main([*arguments.split(), "--plots", str(tmp_path / "plots")]) == 0

    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"ttft_cdf.png", "ttft_cdf.svg", "hit_rate.png", "hit_rate.svg"}

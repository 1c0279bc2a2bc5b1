"""The pure parts of the benchmarks with real engines: order, workload, counters, what is kept, what is reported."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.common.chat import Reply
from bench.common.errors import BenchFailed
from bench.engine import counters
from bench.engine.affinity import affinity
from bench.engine.arguments import options, parse
from bench.engine.commands import EnginePorts, Setup, vllm
from bench.engine.experiment import Cell, Experiment, Routing, Variant, cells
from bench.engine.loads import Load
from bench.engine.offload import offload
from bench.engine.options import Options
from bench.engine.outcome import Outcome, of_replies
from bench.engine.report import comparison, filled
from bench.engine.shelf import Shelf
from bench.engine.sizes import REFERENCE, TINY, sizes_of
from bench.engine.summary import Measured, Summary, load
from bench.engine.tables import ratio, tables
from bench.engine.workload import body, questions

SIZES = sizes_of(TINY)
LOAD = Load(images=12, requests=120, concurrency=8, image_side=16)


def variant(name: str, scenario: str = "pressure") -> Variant:
    return Variant(scenario, name, Setup(2, 128), Routing(), LOAD)


def experiment() -> Experiment:
    names = ("round_robin", "prefix_kv_aware")
    return Experiment("affinity", "Routing", tuple(variant(name) for name in names), {"pressure": "It should win."})


def outcome(p95_ms: float) -> Outcome:
    replies = [Reply("vllm-0", p95_ms / 1000, total_s=1.0, prompt_tokens=1000, cached_tokens=500)] * 4
    counted = {
        "vllm-0": {"vllm:prefix_cache_queries_total": 4000.0, "vllm:prefix_cache_hits_total": 1000.0},
        "vllm-1": {},
    }
    return of_replies(replies, [0, 0, 1, 1], 2.0, counted)


def summary(baseline_ms: float = 300.0, ours_ms: float = 100.0) -> Summary:
    values = {"round_robin": baseline_ms, "prefix_kv_aware": ours_ms}
    measured = tuple(
        Measured("pressure", name, repeat, repeat, outcome(ms * (1 + repeat)), {}, ("vllm serve",))
        for repeat in range(3)
        for name, ms in values.items()
    )
    return Summary("affinity", "Routing", "tiny-llava", {"pressure": "It should win."}, {"versions": {}}, measured)


def a_venv(folder: Path) -> Path:
    (folder / "bin").mkdir()
    (folder / "bin" / "vllm").touch()
    return folder


def chosen(folder: Path, *more: str) -> Options:
    return options(parse(["affinity", "--engine-venv", str(a_venv(folder)), *more]))


def test_every_image_is_asked_about_once_a_round_and_each_round_has_its_own_order() -> None:
    asked = questions(LOAD, SIZES, seed=1)
    rounds = [[each.image for each in asked if each.visit == visit] for visit in range(10)]
    assert all(sorted(order) == list(range(12)) for order in rounds)
    assert len({tuple(order) for order in rounds}) == 10
    assert len({each.text for each in asked}) == 120


def test_the_same_seed_asks_the_same_and_another_seed_asks_about_other_images() -> None:
    first, again, other = (questions(LOAD, SIZES, seed) for seed in (1, 1, 2))
    assert first == again != other
    bodies = [body(asked[0], "m", LOAD, SIZES, seed) for asked, seed in ((first, 1), (other, 2))]
    images = {each["messages"][0]["content"][0]["image_url"]["url"] for each in bodies}
    assert len(images) == 2


def test_without_sharing_no_image_comes_twice() -> None:
    alone = questions(replace(LOAD, images=120), SIZES, seed=1)
    assert set(Counter(each.image for each in alone).values()) == {1}


def test_every_other_repeat_takes_its_variants_backwards() -> None:
    order = [(cell.repeat, cell.variant.name) for cell in cells(experiment(), 2)]
    assert order == [(0, "round_robin"), (0, "prefix_kv_aware"), (1, "prefix_kv_aware"), (1, "round_robin")]


def test_a_cell_is_known_only_as_long_as_its_settings_hold(tmp_path: Path) -> None:
    cell = Cell(variant("round_robin"), 0)
    Shelf(tmp_path, {"blocks": (1, 2)}).put(cell, {"seed": 7})
    assert Shelf(tmp_path, {"blocks": (1, 2)}).get(cell) == {"seed": 7}
    assert Shelf(tmp_path, {"blocks": (1, 3)}).get(cell) is None
    assert Shelf(tmp_path, {"blocks": (1, 2)}).get(replace(cell, repeat=1)) is None


def test_a_cell_that_was_not_written_to_its_end_is_not_known(tmp_path: Path) -> None:
    cell = Cell(variant("round_robin"), 0)
    Shelf(tmp_path, {}).put(cell, {"seed": 7})
    path = next(tmp_path.rglob("*.json"))
    path.write_text(path.read_text()[:20])
    assert Shelf(tmp_path, {}).get(cell) is None


def test_counters_are_summed_over_ranks_and_kept_apart_by_source() -> None:
    page = (
        '# TYPE vllm:prefix_cache_hits_total counter\nvllm:prefix_cache_hits_total{engine="0",model_name="m"} 5.0\n'
        'vllm:prefix_cache_hits_total{engine="1",model_name="m"} 7.0\n'
        'vllm:prompt_tokens_cached_by_source_total{engine="0",model_name="m",source="host"} 3.0\n'
        'vllm:num_requests_running{engine="0",model_name="m"} 1.0\n'
    )
    assert counters.read(page) == {
        "vllm:prefix_cache_hits_total": 12.0,
        "vllm:prompt_tokens_cached_by_source_total{host}": 3.0,
    }
    assert counters.growth({"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 2.0, "c": 5.0}) == {"a": 3.0, "c": 5.0}


def test_the_hit_rate_is_the_engines_and_balance_counts_idle_replicas() -> None:
    measured = outcome(100.0)
    assert measured.engine_hit_rate == 0.25
    assert measured.cached_share == 0.5
    assert measured.requests == {"vllm-0": 4, "vllm-1": 0}
    assert measured.imbalance == 1.0
    assert measured.requests_per_s == 2.0


def test_a_summary_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "affinity.json"
    path.write_text(json.dumps(summary().as_json()))
    again = load(path)
    assert tables(again) == tables(summary())
    assert again.description == summary().description


def test_gains_are_taken_within_a_repeat() -> None:
    assert ratio(summary(), "pressure", "prefix_kv_aware", "ttft_p95_ms").text() == "3.00"


def test_a_table_names_every_variant_and_leaves_out_what_was_not_measured() -> None:
    text = tables(summary())
    assert "| round_robin | 600 (300..900) |" in text
    assert "3.00x" in text
    assert "nan" not in text


def test_the_report_sets_published_numbers_beside_ours() -> None:
    lines = comparison([summary()]).splitlines()
    p95 = next(line for line in lines if "TTFT p95" in line)
    assert "2783, 1516 | 1.84x | tiny-llava | 600, 200 | 3.00x" in p95


def test_only_what_is_between_the_markers_changes() -> None:
    text = "before\n<!-- tiers: generated -->\nold\n<!-- tiers: end -->\nafter\n"
    assert filled(text, "tiers", "new") == text.replace("old", "new")
    with pytest.raises(BenchFailed, match="chat"):
        filled(text, "chat", "new")


def test_each_replica_has_its_core_or_its_gpu(tmp_path: Path) -> None:
    ports = EnginePorts(1, 2, 3)
    on_cores = chosen(tmp_path)
    on_gpus = options(parse(["affinity", "--engine-venv", str(tmp_path), "--gpus", "2,5", "--model", REFERENCE]))
    cores, gpus = (
        [dict(vllm(each, Setup(2, 4096), replica, ports, None).env) for replica in range(2)]
        for each in (on_cores, on_gpus)
    )
    assert [env["VLLM_CPU_OMP_THREADS_BIND"] for env in cores] == ["0", "1"]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in gpus] == ["2", "5"]
    assert "--enforce-eager" not in vllm(on_gpus, Setup(2, 4096), 0, ports, None).argv


def test_a_cache_of_the_experiments_is_too_small_for_all_but_not_for_half(tmp_path: Path) -> None:
    chosen_options = chosen(tmp_path)
    blocks_of_a_prompt = 24
    pressure = affinity(chosen_options).of("pressure")[0].setup
    assert 6 * blocks_of_a_prompt < pressure.blocks < 12 * blocks_of_a_prompt
    for each in offload(chosen_options).variants[:4]:
        assert each.setup.blocks < 8 * blocks_of_a_prompt


def test_without_vllm_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="make engine"):
        options(parse(["affinity", "--engine-venv", str(tmp_path)]))

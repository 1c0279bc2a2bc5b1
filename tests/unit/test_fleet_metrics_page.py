"""What an engine's metrics page is understood to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.feeds.metrics_page import EngineReport, read
from extproc.sim import EngineSettings
from extproc.sim.metrics import Metrics, render
from extproc.sim.requests import EngineStats

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 24.0
vllm:num_requests_waiting{engine="0",model_name="m"} 72.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 72.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.375
vllm:cache_config_info{block_size="16",engine="0",kv_cache_size_tokens="9600",num_gpu_blocks="600",swap="None"} 1.0
"""
REPORT = EngineReport("vllm", running=24, waiting=72, kv_usage=0.375, kv_tokens=9600, block_size=16)

LOAD = "vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"


def test_a_vllm_page() -> None:
    assert read(VLLM) == read(VLLM.encode()) == REPORT


def test_an_older_vllm_calls_its_usage_otherwise_and_gives_its_capacity_in_blocks() -> None:
    page = LOAD + 'vllm:gpu_cache_usage_perc 0.5\nvllm:cache_config_info{block_size="16",num_gpu_blocks="573"} 1.0\n'
    assert read(page) == EngineReport("vllm", 1, 2, 0.5, kv_tokens=9168, block_size=16)


def test_an_sglang_page() -> None:
    labels = 'engine_type="unified",model_name="m",pp_rank="0"'
    page = (
        f'sglang:num_running_reqs{{{labels},priority="",tp_rank="0"}} 5.0\n'
        f'sglang:num_running_reqs{{{labels},priority="3",tp_rank="0"}} 4.0\n'
        f'sglang:num_running_reqs{{{labels},priority="9",tp_rank="0"}} 1.0\n'
        f'sglang:num_running_reqs_offline_batch{{{labels},tp_rank="0"}} 9.0\n'
        f'sglang:num_queue_reqs{{{labels},tp_rank="0"}} 3.0\n'
        f'sglang:token_usage{{{labels},tp_rank="0"}} 0.28\n'
        f'sglang:max_total_num_tokens{{{labels},tp_rank="0"}} 262144.0\n'
        f'sglang:page_size{{{labels},tp_rank="0"}} 64.0\n'
    )
    report = EngineReport("sglang", 5, 3, 0.28, kv_tokens=262_144, block_size=64)
    assert read(page) == report
    assert read(page + page.replace('tp_rank="0"', 'tp_rank="1"')) == report, "tensor-parallel ranks say the same thing"


def test_an_older_sglang_gives_its_page_size_as_a_label() -> None:
    page = (
        'sglang:num_running_reqs 1\nsglang:num_queue_reqs 0\nsglang:cache_config_info{page_size="1",num_pages="9"} 1\n'
    )
    assert read(page) == EngineReport("sglang", 1, 0, block_size=1)


def test_a_tgi_page_says_nothing_of_the_cache() -> None:
    assert read("tgi_batch_current_size 4\ntgi_queue_size 7\n") == EngineReport("tgi", 4, 7)


def test_requests_and_capacity_add_up_over_ranks_and_usage_is_their_mean() -> None:
    other = VLLM.replace('engine="0"', 'engine="1"').replace("0.375", "0.125")
    assert read(VLLM + other) == EngineReport("vllm", 48, 144, 0.25, kv_tokens=19_200, block_size=16)


def test_blocks_are_already_those_of_all_ranks() -> None:
    line = 'vllm:cache_config_info{{block_size="16",engine="{}",num_gpu_blocks="100"}} 1.0\n'
    assert read(LOAD + line.format(0) + line.format(1)).kv_tokens == 1600


def test_a_line_written_twice_counts_once() -> None:
    assert read(VLLM + VLLM) == REPORT


@pytest.mark.parametrize(
    "page",
    [
        VLLM.replace("\n", "\r\n"),
        VLLM.rstrip("\n"),
        VLLM.replace("\nvllm:", "\n \tvllm:"),
        VLLM.replace('"} ', '" , } \t').replace("24.0", "2.4e1"),
        VLLM.replace("72.0", "72.0 1395066363000").replace("24.0", "+24 -3982045"),
        VLLM.replace('model_name="m"', 'model_name="a\\"} 9,b=\\"{\\\\"'),
        VLLM.replace('model_name="m"', r'model_name="\n vllm:num_requests_running 9"'),
        VLLM.replace("engine=", "engine ="),
        "\xff\x00" + "vllm:num_requests_runningvllm:\n" + VLLM,
    ],
    ids=[
        "CRLF",
        "no last line end",
        "indented",
        "blanks",
        "timestamps",
        "quotes",
        "name in a label",
        "spaces",
        "noise",
    ],
)
def test_the_same_page_written_otherwise(page: str) -> None:
    assert read(page).running == 24
    assert read(page) == REPORT


@pytest.mark.parametrize("page", ["", "\n", "# HELP vllm:num_requests_running x\n", "llamacpp:requests_processing 1\n"])
def test_a_page_of_no_engine_known(page: str) -> None:
    assert read(page) == EngineReport()


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1.5", "1e300", "", "one", "1_0", "1 2 3", "} 1"])
def test_an_impossible_count_is_a_fault_and_absent(value: str) -> None:
    report = read(VLLM.replace("24.0", value))
    assert (report.running, report.unreadable) == (None, 1)
    assert (report.waiting, report.kv_usage, report.kv_tokens) == (72, 0.375, 9600)


@pytest.mark.parametrize("value", ["NaN", "-0.2", "1.01", "37.5", "+Inf"])
def test_an_impossible_usage_is_a_fault_and_absent(value: str) -> None:
    report = read(VLLM.replace("0.375", value))
    assert (report.running, report.kv_usage, report.unreadable) == (24, None, 1)


def test_usage_may_be_above_one_by_rounding() -> None:
    assert read(VLLM.replace("0.375", "1.0000000002")).kv_usage == 1.0


def test_one_rank_that_makes_no_sense_makes_the_sum_absent() -> None:
    report = read(VLLM + 'vllm:num_requests_running{engine="1",model_name="m"} NaN\n')
    assert (report.running, report.waiting, report.unreadable) == (None, 72, 1)


@pytest.mark.parametrize("value", ["None", "", "0"])
def test_a_capacity_that_is_not_set_is_absent_without_fault(value: str) -> None:
    page = VLLM.replace("9600", value).replace('"600"', f'"{value}"')
    assert read(page) == EngineReport("vllm", 24, 72, 0.375, kv_tokens=None, block_size=16)


@pytest.mark.parametrize("value", ["-9600", "many", "1e4", "9" * 40, "\uff11\uff12"])
def test_an_impossible_capacity_is_a_fault_and_absent(value: str) -> None:
    assert read(VLLM.replace("9600", value)) == EngineReport("vllm", 24, 72, 0.375, unreadable=1)


def test_a_page_that_says_only_half_of_the_load_is_at_fault() -> None:
    assert read("vllm:num_requests_running 1\n") == EngineReport("vllm", running=1, unreadable=1)


@pytest.mark.parametrize(
    "page",
    [
        b"vllm:num_requests_running 1\n" * 70_000,
        b"# vllm:num_requests_running " * 70_000,
        b'vllm:num_requests_running{a="' + rb"\x" * 1_000_000,
        b"vllm:num_requests_running " + b" " * 2_000_000 + b"1",
    ],
    ids=["lines", "comments", "an open label", "blanks"],
)
def test_a_page_made_to_keep_a_reader_busy_is_given_up(page: bytes) -> None:
    assert read(page + b"\nvllm:num_requests_waiting 2\n") == EngineReport("vllm", waiting=2, unreadable=1)


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                [*VLLM.encode().splitlines(keepends=True), b"vllm:num_requests_running", b"tgi_queue_size"]
            ),
            st.sampled_from([b"{", b"}", b'"', b"\\", b"=", b",", b" ", b"\n", b"NaN", b"-1", b"1e999", b'{engine="']),
        ),
        max_size=30,
    )
)
def test_no_page_is_ever_an_error(pieces: list[bytes]) -> None:
    report = read(b"".join(pieces))
    assert report.kv_usage is None or 0 <= report.kv_usage <= 1
    assert all(number is None or number >= 0 for number in (report.running, report.waiting, report.kv_tokens))


@given(text=st.text())
def test_no_text_is_ever_an_error(text: str) -> None:
    read(text)


@given(
    model=st.text(),
    running=st.integers(0, 10**6),
    waiting=st.integers(0, 10**6),
    kv_usage=st.floats(0, 1),
    block_size=st.integers(1, 4096),
    kv_blocks=st.integers(1, 10**7),
)
def test_a_simulated_replicas_page_is_read_back_exactly(
    model: str, running: int, waiting: int, kv_usage: float, block_size: int, kv_blocks: int
) -> None:
    stats = EngineStats(running, waiting, kv_usage, 0, 0, 0, 0, 0, 0)
    page = render([(Metrics(model, EngineSettings(block_size=block_size, kv_blocks=kv_blocks)), stats)])
    assert read(page) == EngineReport("vllm", running, waiting, kv_usage, block_size * kv_blocks, block_size)


class TestRanks:
    VLLM = """\
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 5.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
"""

    def test_each_rank_has_a_load_of_its_own_and_the_page_the_sum(self) -> None:
        assert read(self.VLLM, 0, 2) == EngineReport("vllm", 3, 5, 0.5)
        assert read(self.VLLM, 1, 2) == EngineReport("vllm", 1, 0, 0.25)
        assert read(self.VLLM) == EngineReport("vllm", 4, 5, 0.375)

    def test_a_rank_that_the_engine_does_not_have_is_not_there(self) -> None:
        assert read(self.VLLM, 2, 3).engine is None

    def test_the_blocks_that_every_rank_says_are_those_of_all_and_shared_out(self) -> None:
        info = "".join(
            f'vllm:cache_config_info{{block_size="16",engine="{rank}",num_gpu_blocks="1000"}} 1.0\n' for rank in (0, 1)
        )
        assert read(self.VLLM + info, 1, 2).kv_tokens == 8000
        assert read(self.VLLM + info).kv_tokens == 16_000

    def test_the_tokens_that_every_rank_says_are_its_own(self) -> None:
        info = "".join(
            f'vllm:cache_config_info{{block_size="16",engine="{rank}",kv_cache_size_tokens="{tokens}",'
            'num_gpu_blocks="1000"} 1.0\n'
            for rank, tokens in enumerate((9600, 6400))
        )
        assert [read(self.VLLM + info, rank, 2).kv_tokens for rank in (0, 1)] == [9600, 6400]

    def test_the_ranks_of_sglang_have_another_label(self) -> None:
        page = "".join(
            f'sglang:num_running_reqs{{dp_rank="{rank}"}} {rank}.0\nsglang:num_queue_reqs{{dp_rank="{rank}"}} 7.0\n'
            for rank in (0, 1)
        )
        assert read(page, 1, 2) == EngineReport("sglang", 1, 7)

    def test_the_ranks_of_a_simulated_replica_are_read_back_one_by_one(self) -> None:
        settings = EngineSettings(block_size=16, kv_blocks=100)
        page = render(
            (Metrics("m", settings, rank, 2), EngineStats(rank, 2 * rank, 0.5, 0, 0, 0, 0, 0, 0)) for rank in (0, 1)
        )
        assert [read(page, rank, 2) for rank in (0, 1)] == [
            EngineReport("vllm", 0, 0, 0.5, 1600, 16),
            EngineReport("vllm", 1, 2, 0.5, 1600, 16),
        ]
        assert page.count("# TYPE vllm:num_requests_running gauge") == 1

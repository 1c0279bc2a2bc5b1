"""The engine model schedules, caches and takes time as vLLM v1 does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.sim import Engine, EngineSettings, Request
from tests.unit.sim.drive import request, run, settings


def test_ttft_of_a_cold_prompt_is_its_tokens_over_the_prefill_rate() -> None:
    served = run(Engine(settings()), [request("a", 40, 3)]).served["a"]
    assert served.first_s == pytest.approx(0.040)
    assert served.finished_s == pytest.approx(0.040 + 2 * 0.010)


def test_ttft_of_a_warm_prompt_counts_only_uncached_tokens() -> None:
    served = run(Engine(settings()), [request("a", 42), request("b", 42, arrival_s=1.0)]).served
    assert served["b"].cached_tokens == 40
    assert served["b"].first_s - 1.0 == pytest.approx(0.002)


def test_a_prompt_longer_than_the_step_budget_is_prefilled_in_chunks_at_the_same_rate() -> None:
    result = run(Engine(settings()), [request("a", 200)])
    assert result.steps == 4
    assert result.served["a"].first_s == pytest.approx(0.200)


def test_the_last_token_is_always_recomputed() -> None:
    served = run(Engine(settings()), [request("a", 16), request("b", 16, arrival_s=1.0)]).served
    assert served["b"].cached_tokens == 12


def test_step_overhead_is_part_of_a_lone_streams_rate() -> None:
    slow_steps = settings(step_overhead_s=0.004)
    served = run(Engine(slow_steps), [request("a", 10, 11)]).served["a"]
    assert served.finished_s - served.first_s == pytest.approx(10 * 0.010)


def test_two_streams_together_finish_sooner_than_one_after_the_other() -> None:
    both = run(Engine(settings(decode_interference=0.1)), [request("a", 8, 50), request("b", 8, 50, topic=1)])
    alone = run(Engine(settings()), [request("a", 8, 50)]).served["a"].finished_s
    finished_s = max(served.finished_s for served in both.served.values())
    assert alone < finished_s < 1.2 * alone


def test_a_long_prefill_delays_the_decodes_that_share_its_step() -> None:
    result = run(Engine(settings()), [request("a", 4, 3), request("b", 60, topic=1, arrival_s=0.005)])
    assert result.served["a"].finished_s == pytest.approx(0.004 + 0.010 + (0.060 + 0.010))


def test_no_more_requests_run_than_allowed() -> None:
    engine = Engine(settings(max_num_seqs=2))
    for name in "abc":
        engine.submit(request(name, 4, 5, topic=ord(name)))
    engine.begin_step(0.0)
    assert (engine.stats.running, engine.stats.waiting) == (2, 1)


def test_requests_start_in_arrival_order() -> None:
    requests = [request(str(i), 30, 2, topic=i, arrival_s=i / 1e6) for i in range(12)]
    served = run(Engine(settings(max_num_seqs=1)), requests).served
    firsts = [served[str(i)].first_s for i in range(12)]
    assert firsts == sorted(firsts)


def test_a_request_waits_until_its_whole_prompt_fits() -> None:
    engine = Engine(settings(kv_blocks=10))
    engine.submit(request("a", 24, 4))
    engine.submit(request("b", 24, 4, topic=1))
    engine.begin_step(0.0)
    assert (engine.stats.running, engine.stats.waiting) == (1, 1)


def test_the_youngest_is_preempted_when_a_running_request_cannot_grow() -> None:
    engine = Engine(settings(kv_blocks=8))
    served = run(engine, [request("old", 12, 20), request("young", 12, 20, topic=1)]).served
    assert engine.stats.preemptions > 0
    assert served["old"].finished_s < served["young"].finished_s
    assert [served[name].tokens for name in served] == [20, 20]


def test_prefixes_outlive_tails_when_room_runs_out() -> None:
    engine = Engine(settings(kv_blocks=12))
    run(engine, [request("a", 40), request("b", 20, topic=1, arrival_s=1.0)])
    assert 0 < engine.cached_prefix_tokens(request("c", 40)) < 36


def test_the_prompt_not_used_for_longest_is_evicted_at_capacity() -> None:
    engine = Engine(settings(kv_blocks=20))
    run(engine, [request(str(i), 37, topic=i, arrival_s=float(i)) for i in range(3)])
    assert engine.stats.evicted_blocks > 0
    assert [engine.cached_prefix_tokens(request("x", 37, topic=i)) for i in range(3)] == [0, 36, 36]


def test_generated_tokens_are_warm_in_the_next_turn() -> None:
    engine = Engine(settings())
    first = Request("a", 10, [1, 2], 7, 0.0, output_block_hashes=[3, 4])
    second = Request("b", 21, [1, 2, 3, 4, 5], 1, 1.0)
    # Of 10 + 7 tokens the last was never fed back: 16 are computed, four whole blocks.
    assert run(engine, [first, second]).served["b"].cached_tokens == 16


def test_a_trace_that_also_hashes_its_partial_last_block_hits_only_full_ones() -> None:
    engine = Engine(settings())
    served = run(engine, [Request("a", 10, [1, 2, 3], 4, 0.0), Request("b", 12, [1, 2, 3], 1, 1.0)]).served
    assert served["b"].cached_tokens == 8


def test_a_prompt_that_diverges_hits_up_to_there() -> None:
    engine = Engine(settings())
    served = run(engine, [Request("a", 16, [1, 2, 3, 4], 1), Request("b", 16, [1, 2, 9, 4], 1, 1.0)]).served
    assert served["b"].cached_tokens == 8


def test_requests_of_one_step_share_blocks() -> None:
    served = run(Engine(settings()), [request("a", 20), request("b", 20)]).served
    assert (served["a"].cached_tokens, served["b"].cached_tokens) == (0, 16)


def test_an_aborted_request_frees_its_blocks_and_is_heard_of_no_more() -> None:
    engine = Engine(settings())
    engine.submit(request("a", 20, 5))
    engine.begin_step(0.0)
    assert engine.abort("a", 0.0)
    assert not engine.abort("a", 0.0)
    assert engine.finish_step(1.0) == []
    assert engine.cache.used == 0
    assert not engine.busy


def test_an_abort_makes_room_for_who_waits() -> None:
    engine = Engine(settings(kv_blocks=8))
    engine.submit(request("a", 24, 4))
    engine.submit(request("b", 24, 4, topic=1))
    engine.begin_step(0.0)
    engine.abort("a", 0.0)
    engine.finish_step(0.024)
    engine.begin_step(0.024)
    assert (engine.stats.running, engine.stats.waiting) == (1, 0)


def test_a_request_that_only_prefills_generates_nothing() -> None:
    served = run(Engine(settings()), [request("a", 20, 0)]).served["a"]
    assert (served.tokens, served.finishes) == (0, 1)


@pytest.mark.parametrize(
    "bad", [request("a", 0), request("a", 250, 10), request("used", 4)], ids=["empty", "too long", "id in use"]
)
def test_what_can_never_run_is_refused(bad: Request) -> None:
    engine = Engine(settings())
    engine.submit(request("used", 4))
    with pytest.raises(ValueError, match=r".+"):
        engine.submit(bad)


@pytest.mark.parametrize(
    "bad",
    [{"block_size": 0}, {"prefill_tokens_per_s": 0.0}, {"step_overhead_s": -1.0}, {"decode_interference": math.inf}],
)
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        settings(**bad)


def test_an_instant_engine_takes_no_time_and_two_steps() -> None:
    result = run(Engine(EngineSettings.instant()), [request("a", 5000, 2000, block_size=16)])
    assert result.steps == 2
    assert result.served["a"].finished_s == 0.0


def test_an_arrival_joins_a_fused_step_at_the_next_token() -> None:
    engine = Engine(settings())
    engine.submit(request("a", 4, 100))
    engine.finish_step(engine.begin_step(0.0) or 0.0)
    assert engine.begin_step(0.004, fuse=True) == pytest.approx(0.99)
    engine.submit(request("b", 4, topic=1, arrival_s=0.027))
    assert engine.step_ends_s == pytest.approx(0.034)
    assert [output.new_tokens for output in engine.finish_step(0.034)] == [3]


def test_reset_waits_for_an_idle_engine() -> None:
    engine = Engine(settings())
    engine.submit(request("a", 20, 2))
    engine.begin_step(0.0)
    assert not engine.reset_prefix_cache()
    engine.abort("a", 0.0)
    assert engine.reset_prefix_cache()
    assert engine.cached_prefix_tokens(request("b", 20)) == 0


# Arrivals in units that no sum of step times hits exactly.
_workloads = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 30), st.integers(0, 3), st.integers(0, 200)), min_size=1, max_size=14
)


def _requests(workload: list[tuple[int, int, int, int]]) -> list[Request]:
    return [
        request(str(i), tokens, max_tokens, topic=topic, arrival_s=arrival * math.pi / 1000)
        for i, (tokens, max_tokens, topic, arrival) in enumerate(workload)
    ]


@given(_workloads, st.integers(24, 40), st.integers(1, 6), st.integers(8, 64))
def test_every_request_is_served_once_and_gives_everything_back(
    workload: list[tuple[int, int, int, int]], kv_blocks: int, max_num_seqs: int, budget: int
) -> None:
    engine = Engine(settings(kv_blocks=kv_blocks, max_num_seqs=max_num_seqs, max_num_batched_tokens=budget))
    requests = _requests(workload)
    result = run(engine, requests)
    for submitted in requests:
        served = result.served[submitted.id]
        assert (served.tokens, served.firsts, served.finishes) == (submitted.max_tokens, 1, 1)
        assert served.first_s >= submitted.arrival_s
        assert served.cached_tokens < submitted.prompt_tokens
    assert (engine.stats.running, engine.stats.waiting, engine.cache.used) == (0, 0, 0)
    assert engine.stats.prefix_queries == sum(submitted.prompt_tokens for submitted in requests)
    assert engine.stats.prefix_hits == sum(served.cached_tokens for served in result.served.values())
    assert engine.stats.generation_tokens == sum(submitted.max_tokens for submitted in requests)


@given(_workloads, st.integers(24, 40), st.integers(1, 6))
def test_fused_steps_change_nothing_but_their_number(
    workload: list[tuple[int, int, int, int]], kv_blocks: int, max_num_seqs: int
) -> None:
    rates = {"decode_tokens_per_s": 97.3, "decode_interference": 0.03}
    chosen = settings(kv_blocks=kv_blocks, max_num_seqs=max_num_seqs, **rates)
    single = run(Engine(chosen), _requests(workload))
    fused = run(Engine(chosen), _requests(workload), fuse=True)
    assert fused.steps <= single.steps
    assert fused.engine.stats == single.engine.stats
    for name, expected in single.served.items():
        served = fused.served[name]
        assert served.first_s == pytest.approx(expected.first_s)
        assert served.finished_s == pytest.approx(expected.finished_s)
        assert served.cached_tokens == expected.cached_tokens

"""The store behind all engines: what one has computed, any of them restores, at the store's speed."""

from __future__ import annotations

import pytest

from extproc.sim import Engine
from extproc.sim.settings import EngineSettings
from extproc.sim.store import BlockStore
from tests.unit.sim.drive import request, run, settings


def test_what_one_engine_has_computed_another_restores() -> None:
    store = BlockStore(100)
    first, second = (Engine(settings(remote_tokens_per_s=10_000.0), remote=store) for _ in range(2))
    run(first, [request("a", 41, topic=1)])

    served = run(second, [request("b", 41, topic=1)]).served["b"]

    assert served.cached_tokens == 40
    # 40 tokens at 10,000 a second and one at 1,000.
    assert served.first_s == pytest.approx(0.004 + 0.001)


def test_it_is_written_when_a_request_ends() -> None:
    store = BlockStore(100)
    first, second = (Engine(settings(), remote=store) for _ in range(2))
    first.submit(request("a", 41, topic=1))
    first.begin_step(0.0)
    assert second.cached_prefix_tokens(request("b", 41, topic=1)) == 0
    first.abort("a", 0.01)
    assert second.cached_prefix_tokens(request("b", 41, topic=1)) == 40


def test_what_the_host_has_is_restored_from_there_and_the_rest_from_the_store() -> None:
    store = BlockStore(100)
    engine = Engine(
        settings(kv_blocks=12, host_blocks=4, restore_tokens_per_s=20_000.0, remote_tokens_per_s=5000.0), remote=store
    )
    prompts = [request(name, 41, topic=topic, arrival_s=at_s) for name, topic, at_s in (("a", 1, 0.0), ("b", 2, 1.0))]
    run(engine, prompts)
    again = request("c", 41, topic=1, arrival_s=2.0)

    on_gpu = len(engine.cache.longest_prefix(again.block_hashes, 10))
    in_host = engine.cache.host.prefix(again.block_hashes, on_gpu, 10)
    assert on_gpu + in_host < 10
    served = run(engine, [again]).served["c"]

    remote = 10 - on_gpu - in_host
    assert served.cached_tokens == 40
    assert served.first_s == pytest.approx(2.0 + 4 * in_host / 20_000 + 4 * remote / 5000 + 0.001)


def test_a_full_store_forgets_the_end_of_what_was_served_longest_ago() -> None:
    store = BlockStore(12)
    engine = Engine(settings(), remote=store)
    run(engine, [request("a", 41, topic=1), request("b", 41, topic=2, arrival_s=1.0)])

    kept = [store.prefix(request("x", 41, topic=topic).block_hashes, 0, 10) for topic in (1, 2)]
    assert kept == [2, 10]


def test_it_outlives_a_cache_that_is_cleared() -> None:
    engine = Engine(settings(), remote=BlockStore(100))
    run(engine, [request("a", 41, topic=1)])

    assert engine.reset_prefix_cache()
    assert engine.cached_prefix_tokens(request("b", 41, topic=1)) == 40


def test_an_impossible_speed_is_refused() -> None:
    with pytest.raises(ValueError, match="remote_tokens_per_s"):
        EngineSettings(remote_tokens_per_s=0.0)

"""The host-memory tier: what the GPU evicts comes back at the tier's speed, not the GPU's."""

from __future__ import annotations

import pytest

from extproc.sim import Engine
from extproc.sim.cache import BlockCache
from extproc.sim.settings import EngineSettings
from tests.unit.sim.drive import request, run, settings

A_THEN_B_THEN_A = (("a", 1, 0.0), ("b", 2, 1.0), ("c", 1, 2.0))


def test_what_the_gpu_evicted_is_restored_and_counts_as_cached() -> None:
    engine = Engine(settings(kv_blocks=12, host_blocks=100, restore_tokens_per_s=10_000.0))
    prompts = [request(name, 41, topic=topic, arrival_s=at_s) for name, topic, at_s in A_THEN_B_THEN_A]

    served = run(engine, prompts).served

    assert [served[name].cached_tokens for name in "abc"] == [0, 0, 40]
    # One block of 4 was still on the GPU; 36 tokens at 10,000 a second and one at 1,000.
    assert served["c"].first_s == pytest.approx(2.0 + 0.0036 + 0.001)


def test_without_a_tier_it_is_computed_again() -> None:
    engine = Engine(settings(kv_blocks=12))
    prompts = [request(name, 41, topic=topic, arrival_s=at_s) for name, topic, at_s in A_THEN_B_THEN_A]

    assert run(engine, prompts).served["c"].cached_tokens == 4


def test_a_prefix_may_be_half_on_the_gpu_and_half_behind_it() -> None:
    engine = Engine(settings(kv_blocks=16, host_blocks=100))
    run(engine, [request("a", 41, topic=1), request("b", 41, topic=2, arrival_s=1.0)])
    prompt = request("c", 41, topic=1)

    on_gpu = len(engine.cache.longest_prefix(prompt.block_hashes, 10)) * 4

    assert 0 < on_gpu < 40
    assert engine.cached_prefix_tokens(prompt) == 40


def test_a_full_tier_forgets_what_was_used_longest_ago() -> None:
    cache = BlockCache(1, host_blocks=2)
    for block_hash in (1, 2, 3, 4):
        (block,) = cache.allocate(1)
        cache.store(block, block_hash)
        cache.release([block])

    assert [cache.host.prefix([block_hash], 0, 1) for block_hash in (1, 2, 3, 4)] == [0, 1, 1, 0]


def test_what_is_restored_becomes_recent() -> None:
    cache = BlockCache(1, host_blocks=2)
    for block_hash in (1, 2, 3):
        (block,) = cache.allocate(1)
        cache.store(block, block_hash)
        cache.release([block])
        if block_hash == 3:
            cache.host.use([1])
    cache.allocate(1)

    assert [cache.host.prefix([block_hash], 0, 1) for block_hash in (1, 2, 3)] == [1, 0, 1]


def test_fused_steps_change_nothing() -> None:
    def served(fuse: bool) -> list[tuple[float, int]]:
        engine = Engine(settings(kv_blocks=40, host_blocks=60))
        prompts = [request(str(i), 41 + i, 9, topic=i % 4, arrival_s=i * 0.03, block_size=4) for i in range(40)]
        result = run(engine, prompts, fuse=fuse).served
        return [(round(each.finished_s, 9), each.cached_tokens) for each in result.values()]

    assert served(fuse=True) == served(fuse=False)


def test_a_cleared_cache_is_cleared_behind_the_gpu_too() -> None:
    engine = Engine(settings(kv_blocks=12, host_blocks=100))
    run(engine, [request("a", 41, topic=1), request("b", 41, topic=2, arrival_s=1.0)])

    assert engine.reset_prefix_cache()
    assert engine.cached_prefix_tokens(request("c", 41, topic=1)) == 0


@pytest.mark.parametrize("wrong", [{"host_blocks": -1}, {"restore_tokens_per_s": 0.0}])
def test_an_impossible_tier_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EngineSettings(**wrong)  # type: ignore[arg-type]


def test_an_elastic_cache_makes_room_where_none_is_left_and_gives_it_up_again() -> None:
    cache = BlockCache(2, elastic=True)

    blocks = cache.allocate(5)
    assert len(set(blocks)) == cache.total == 5
    cache.release(blocks[:1])
    assert (cache.total, cache.free) == (4, 0)
    cache.release(blocks[1:])
    assert (cache.total, cache.free) == (2, 2)

"""Each baseline follows the rule that it is named for."""

from __future__ import annotations

import pytest

from bench.routing.baselines.load import Load
from bench.routing.baselines.views import Inferred
from bench.routing.policies import build
from bench.routing.request import BenchRequest
from tests.unit.bench.make import plan, prompt, setting

CAPACITY = 64 * 16


def policy(name: str, replicas: int = 2) -> Load:
    made = build(name, setting(plan(replicas)))
    assert isinstance(made, Load)
    for replica in range(replicas):
        made.up(replica, CAPACITY, 0.0)
    return made


def send(made: Load, *requests: BenchRequest, now_s: float = 0.0) -> list[int]:
    return [made.route(request, now_s) for request in requests]


def serve(made: Load, *requests: BenchRequest, now_s: float = 0.0) -> list[int]:
    """Routes each and finishes it before the next."""
    chosen = []
    for request in requests:
        replica = made.route(request, now_s)
        made.first_token(request, replica, now_s)
        made.finished(request, replica, now_s, 0)
        chosen.append(replica)
    return chosen


def prompts(count: int, topic: int | None = None, blocks: int = 4) -> list[BenchRequest]:
    return [prompt(f"{topic}-{i}", 100 + i if topic is None else topic, blocks) for i in range(count)]


def test_round_robin_takes_turns_and_skips_who_has_left() -> None:
    made = policy("round_robin", 3)
    assert send(made, *prompts(4)) == [0, 1, 2, 0]
    made.down(1, 0.0)
    assert send(made, *prompts(2, topic=7)) == [2, 0]


def test_least_busy_goes_where_fewest_are_in_flight() -> None:
    made = policy("least_busy")
    send(made, *prompts(3))
    first = made.inflight[0]
    made.finished(prompts(1)[0], 0, 1.0, 0)
    made.finished(prompts(1)[0], 0, 1.0, 0)
    assert (first, made.inflight[0]) == (2, 0)
    assert send(made, *prompts(1, topic=9)) == [0]


def test_random_is_seeded_and_uses_every_replica() -> None:
    chosen = send(policy("random", 4), *prompts(100))
    assert chosen == send(policy("random", 4), *prompts(100))
    assert set(chosen) == {0, 1, 2, 3}


def test_chwbl_keeps_a_first_block_where_it_was_until_the_bound() -> None:
    made = policy("chwbl", 4)
    assert len(set(serve(made, *prompts(20, topic=5)))) == 1
    send(made, *prompts(20, topic=5))
    assert max(made.inflight.values()) <= 1.25 * 20 / 4 + 1


def test_chwbl_moves_few_keys_when_a_replica_joins() -> None:
    made = policy("chwbl", 4)
    before = serve(made, *prompts(200))
    made.up(4, CAPACITY, 0.0)
    after = serve(made, *prompts(200))
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert 0 < len(moved) < 100
    assert {b for _, b in moved} == {4}


def test_session_hashing_keeps_a_conversation_together_whatever_its_first_block() -> None:
    made = policy("session", 4)
    talk = [prompt(f"s{i}", topic=i, session="one") for i in range(10)]
    assert len(set(serve(made, *talk))) == 1


def test_sglang_follows_a_match_above_three_tenths_of_the_prompt() -> None:
    made = policy("sglang")
    (first,) = send(made, prompt("a", 1, blocks=4))
    assert send(made, prompt("b", 1, blocks=10)) == [first]  # 64 of 161 tokens, though it is busier
    assert send(made, prompt("c", 1, blocks=40)) == [1 - first]  # 160 of 641 tokens: the least loaded


def test_sglang_gives_up_affinity_when_the_fleet_is_out_of_balance() -> None:
    made = policy("sglang")
    chosen = send(made, *prompts(70, topic=1))
    assert chosen[:65] == [0] * 65
    assert chosen[65] == 1


def test_lmetric_multiplies_new_tokens_and_batch() -> None:
    made = policy("lmetric")
    (warm,) = serve(made, prompt("a", 1, blocks=10))
    send(made, prompt("x", 1, blocks=10))
    # 1 uncached token times 2 is less than 161 times 1.
    assert send(made, prompt("b", 1, blocks=10)) == [warm]
    assert send(made, prompt("c", 2, blocks=10)) == [1 - warm]


def test_lmetric_queued_counts_what_waits_ahead() -> None:
    made = policy("lmetric_queued")
    (warm,) = send(made, prompt("a", 1, blocks=10))
    # 161 queued and 1 of its own, times 2, is more than 161 times 1.
    assert send(made, prompt("b", 1, blocks=10)) == [1 - warm]


def test_dynamo_counts_prefill_and_active_blocks() -> None:
    made = policy("dynamo")
    (warm,) = serve(made, prompt("a", 1, blocks=10))
    running = prompt("b", 1, blocks=10)
    assert send(made, running) == [warm]
    made.first_token(running, warm, 0.0)
    # 1 uncached and 161 active tokens are more than 145 uncached ones, and fewer than 177.
    assert send(made, prompt("c", 1, blocks=9)) == [1 - warm]
    made = policy("dynamo")
    serve(made, prompt("a", 1, blocks=11))
    send(made, running)
    made.first_token(running, warm, 0.0)
    assert send(made, prompt("d", 1, blocks=11)) == [warm]


def test_sticky_stays_until_its_replica_is_sixteen_seconds_behind() -> None:
    made = policy("sticky")  # peak rate 1,000 tokens/s: tau is 16,000 tokens
    (warm,) = send(made, prompt("a", 1, blocks=50))
    assert send(made, prompt("b", 1, blocks=50)) == [warm]
    made.queued_tokens[warm] += 16_000
    assert send(made, prompt("c", 1, blocks=50)) == [1 - warm]


def test_sticky_ignores_a_match_below_four_fifths() -> None:
    made = policy("sticky")
    (warm,) = send(made, prompt("a", 1, blocks=30))
    # 480 of 641 tokens are there, behind 481 in the queue: cheaper elsewhere.
    assert send(made, prompt("b", 1, blocks=40)) == [1 - warm]


def test_first_generation_forgets_after_five_minutes() -> None:
    made = policy("first_generation")
    made.inflight[0] = 1
    (warm,) = serve(made, prompt("a", 1))
    made.inflight = {0: 1, 1: 1}
    assert warm == 1
    assert serve(made, prompt("b", 1), now_s=290.0) == [warm]
    assert serve(made, prompt("c", 1), now_s=600.0) == [0]


def test_first_generation_weighs_an_image_as_one_token() -> None:
    made = policy("first_generation")
    (warm,) = send(made, prompt("a", 1, blocks=4, media_blocks=(0, 1, 2, 3)))
    # Of a longer prompt with four images, their match is 4 tokens of 36: not worth a replica that is busy.
    assert send(made, prompt("b", 1, blocks=6, media_blocks=(0, 1, 2, 3))) == [1 - warm]
    # The same blocks as text are 64 tokens of 96.
    made = policy("first_generation")
    (warm,) = send(made, prompt("a", 1, blocks=4))
    assert send(made, prompt("b", 1, blocks=6)) == [warm]


def test_first_generation_leaves_a_replica_more_than_eight_requests_above_the_idlest() -> None:
    made = policy("first_generation", 2)
    chosen = send(made, *prompts(12, topic=3))
    assert max(chosen.count(0), chosen.count(1)) <= 10
    assert abs(made.inflight[0] - made.inflight[1]) <= 9


def test_an_inferred_view_forgets_what_no_longer_fits() -> None:
    view = Inferred()
    view.up(0, CAPACITY)  # room for 64 blocks
    view.routed(prompt("a", 1, blocks=40), 0)
    view.routed(prompt("b", 2, blocks=40), 0)

    # The end of the older prompt goes first.
    assert view.matched(prompt("c", 1, blocks=40), [0]) == {0: 24 * 16}
    assert view.matched(prompt("d", 2, blocks=40), [0]) == {0: 40 * 16}


@pytest.mark.parametrize("name", ["sglang", "lmetric", "lmetric_queued", "dynamo", "sticky"])
def test_an_exact_view_knows_what_is_coming_as_long_as_it_is(name: str) -> None:
    made = policy(f"{name}+P")
    request = prompt("a", 1, blocks=10)
    (warm,) = send(made, request)
    view = made._view  # type: ignore[attr-defined]
    assert view.matched(prompt("b", 1, blocks=10), [0, 1]) == {warm: 160, 1 - warm: 0}
    made.first_token(request, warm, 0.0)
    assert view.matched(prompt("b", 1, blocks=10), [0, 1]) == {0: 0, 1: 0}  # no engine computed it

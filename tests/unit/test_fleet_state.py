"""Fleet state is a fold over events: each test is a list of events and what is believed after it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.events import (
    CacheCleared,
    CapacityReported,
    Event,
    Finished,
    FirstToken,
    Lapsed,
    LoadReported,
    ReplicaDown,
    ReplicaDraining,
    ReplicaProven,
    ReplicaUp,
    Usage,
)
from extproc.fleet.state import Fleet
from extproc.routing import Option, assess
from tests.unit.say import chain, fleet_of, routed, served

PROMPT = chain(1, 2, 3)


def test_the_replica_that_served_holds_the_prompt() -> None:
    fleet = fleet_of("a", "b")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(served("t", "a"))
    assert fleet.index.match(PROMPT) == {"a": 30}


def test_a_replica_that_was_only_tried_holds_nothing() -> None:
    fleet = fleet_of("a", "b")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(served("t", "b", attempts=2))
    assert fleet.index.match(PROMPT) == {"b": 30}


def test_an_error_leaves_nothing_in_a_cache() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(served("t", "a", status=400))
    assert fleet.index.match(PROMPT) == {}


def test_a_client_that_left_before_the_first_byte_leaves_nothing_behind() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(Finished(1.0, "t", served="a", status=0, reached=False))
    assert fleet.index.match(PROMPT) == {}
    assert fleet.replicas["a"].inflight == 0


def test_load_counts_from_routing_to_the_end() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("t", "a", PROMPT))
    state = fleet.replicas["a"]
    assert (state.inflight, state.queued_tokens) == (1, 30)
    fleet.apply(FirstToken(0.5, "t"))
    assert (state.inflight, state.queued_tokens) == (1, 0)
    fleet.apply(served("t", "a"))
    assert (state.inflight, state.queued_tokens) == (0, 0)


def test_a_report_told_twice_counts_once() -> None:
    fleet = fleet_of("a")
    for event in (routed("t", "a", PROMPT), routed("u", "a", PROMPT), served("t", "a"), served("t", "a")):
        fleet.apply(event)
    assert fleet.replicas["a"].inflight == 1
    assert fleet.faults["unmatched report"] == 1


def test_a_report_without_a_ticket_is_known_by_its_request_id() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("t", "a", PROMPT, request_id="r"))
    fleet.apply(Finished(1.0, "", request_id="r"))
    assert fleet.outstanding == 0
    assert fleet.replicas["a"].inflight == 0


def test_clients_that_share_a_request_id_do_not_share_an_end() -> None:
    fleet = fleet_of("a")
    for ticket in ("t", "u"):
        fleet.apply(routed(ticket, "a", PROMPT, request_id="same"))
    fleet.apply(Finished(1.0, "", request_id="same"))
    assert fleet.replicas["a"].inflight == 1
    fleet.apply(served("u", "a"))
    fleet.apply(served("t", "a"))
    assert fleet.replicas["a"].inflight == 0


def test_requests_that_nobody_reports_are_counted_out() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("old", "a", PROMPT, at_s=1.0))
    fleet.apply(routed("new", "a", chain(7), at_s=9.0))
    fleet.apply(Lapsed(10.0, routed_before_s=5.0))
    assert fleet.replicas["a"].inflight == 1
    assert fleet.index.match(PROMPT) == {}
    assert fleet.index.match(chain(7)) == {"a": 10}


def test_failures_in_a_row_set_a_replica_aside_and_a_success_forgives_them() -> None:
    fleet = fleet_of("a", "b")
    for turn in range(2):
        fleet.apply(routed(f"t{turn}", "a", PROMPT))
        fleet.apply(served(f"t{turn}", "b", attempts=2))
    fleet.apply(routed("fine", "a", PROMPT))
    fleet.apply(served("fine", "a"))
    assert fleet.replicas["a"].failures == 0
    for turn in range(3):
        fleet.apply(routed(f"u{turn}", "a", PROMPT))
        fleet.apply(served(f"u{turn}", "b", at_s=100.0, attempts=2))
    assert not fleet.replicas["a"].proven
    assert fleet.replicas["a"].ask_after_s == 115.0


def test_a_client_that_hangs_up_is_nobodys_failure() -> None:
    fleet = fleet_of("a")
    for turn in range(5):
        fleet.apply(routed(f"t{turn}", "a", PROMPT))
        fleet.apply(Finished(1.0, f"t{turn}", served=None, status=0))
    assert fleet.replicas["a"].failures == 0


def test_a_replica_that_comes_back_under_its_name_starts_from_nothing() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("before", "a", PROMPT))
    fleet.apply(ReplicaDown(1.0, "a"))
    fleet.apply(ReplicaUp(2.0, "a"))
    fleet.apply(routed("after", "a", PROMPT))
    fleet.apply(served("before", None, status=503))
    assert fleet.replicas["a"].inflight == 1
    assert fleet.index.match(PROMPT) == {"a": 30}


def test_a_draining_replica_is_still_known() -> None:
    fleet = fleet_of("a")
    fleet.apply(ReplicaDraining(1.0, "a"))
    assert fleet.replicas["a"].draining
    fleet.apply(ReplicaUp(2.0, "a"))
    assert not fleet.replicas["a"].draining


def test_a_newcomer_is_set_aside_until_it_has_shown_that_it_serves() -> None:
    fleet = fleet_of("a")
    fleet.apply(ReplicaUp(1.0, "new", proven=False))
    assert not fleet.replicas["new"].proven
    fleet.apply(ReplicaProven(2.0, "new"))
    assert fleet.replicas["new"].proven


def test_failures_of_a_newcomer_do_not_make_it_proven() -> None:
    fleet = fleet_of("b")
    fleet.apply(ReplicaUp(1.0, "new", proven=False))
    for turn in range(4):
        fleet.apply(routed(f"t{turn}", "new", PROMPT))
        fleet.apply(served(f"t{turn}", "b", at_s=3.0))
    assert not fleet.replicas["new"].proven


def test_a_cleared_cache_matches_nothing() -> None:
    fleet = fleet_of("a")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(served("t", "a"))
    fleet.apply(CacheCleared(2.0, "a"))
    assert fleet.index.match(PROMPT) == {}


def test_a_report_that_comes_before_the_request_it_is_about_is_a_fault_and_not_an_end() -> None:
    fleet = fleet_of("a")
    fleet.apply(served("t", "a"))
    fleet.apply(routed("t", "a", PROMPT))
    assert fleet.faults["unmatched report"] == 1
    assert fleet.replicas["a"].inflight == 1


def test_a_first_token_told_twice_or_after_the_end_changes_nothing() -> None:
    fleet = fleet_of("a")
    for ticket in ("t", "u"):
        fleet.apply(routed(ticket, "a", PROMPT, timed=True))
    fleet.apply(FirstToken(1.0, "t"))
    fleet.apply(FirstToken(2.0, "t"))
    fleet.apply(served("t", "a", at_s=3.0))
    fleet.apply(FirstToken(4.0, "t"))
    assert (fleet.replicas["a"].inflight, len(fleet.replicas["a"].queue)) == (1, 1)


def test_a_request_that_is_routed_twice_is_in_flight_once() -> None:
    fleet = fleet_of("a", "b")
    fleet.apply(routed("t", "a", PROMPT))
    fleet.apply(routed("t", "b", PROMPT))
    assert [fleet.replicas[name].inflight for name in "ab"] == [1, 0]


tickets = st.sampled_from([f"t{i}" for i in range(6)])
replicas = st.sampled_from(["a", "b", "c"])
prompts = st.builds(
    lambda blocks, block_tokens: chain(*blocks, tail_tokens=7, block_tokens=block_tokens),
    st.lists(st.integers(0, 3), max_size=5),
    st.just(1000),
)
request_ids = st.sampled_from(["", "r", "s"])
counts = st.none() | st.sampled_from([-1, 0, 1, 500, 3000, 10**6, 2**53 - 1])
usages = st.builds(Usage, counts, counts, counts)
loads = st.integers(0, 50) | st.just(2**53 - 1)


def histories(times: st.SearchStrategy[float]) -> st.SearchStrategy[list[Event]]:
    """Anything, in any order, at such times."""
    nobody_or_one = st.none() | replicas
    statuses = st.sampled_from([0, 200, 400, 429, 503])
    known = st.integers(0, 5000)
    routings = st.builds(
        routed,
        tickets,
        replicas,
        prompts,
        at_s=times,
        request_id=request_ids,
        matched=known,
        model=st.sampled_from(["", "m"]),
        timed=st.booleans(),
    )
    return st.lists(
        st.one_of(
            routings,
            routings,
            st.builds(FirstToken, times, tickets),
            st.builds(served, tickets, nobody_or_one, at_s=times, status=statuses, usage=usages),
            st.builds(Finished, times, st.just(""), request_id=request_ids),
            st.builds(ReplicaUp, times, replicas, proven=st.booleans()),
            st.builds(ReplicaProven, times, replicas),
            st.builds(ReplicaDown, times, replicas),
            st.builds(ReplicaDraining, times, replicas),
            st.builds(CacheCleared, times, replicas),
            st.builds(Lapsed, times, times),
            st.builds(LoadReported, times, replicas, loads, loads, st.floats(0, 1)),
            st.builds(CapacityReported, times, replicas, st.none() | st.integers(1, 20_000)),
        ),
        max_size=60,
    )


steady = st.sampled_from([0.0, 1.0])
jumping = st.sampled_from([-1e9, -3600.0, -1.0, 0.0, 0.5, 1.0, 60.0, 1e5, 1e12]) | st.floats(-1e6, 1e6)


@given(histories(steady))
def test_whatever_happens_in_whatever_order_every_count_returns_to_zero(history: list[Event]) -> None:
    fleet = fleet_of("a", "b", "c")
    for event in history:
        fleet.apply(event)
    assert all(state.inflight >= 0 and state.queued_tokens >= 0 for state in fleet.replicas.values())
    fleet.apply(Lapsed(10.0, routed_before_s=10.0))
    assert fleet.outstanding == 0
    for name, state in fleet.replicas.items():
        assert (state.inflight, state.queued_tokens) == (0, 0)
        assert fleet.index.claimed_blocks(name) == 0


@given(histories(steady), st.integers(1, 8))
def test_no_history_takes_the_index_past_its_bound(history: list[Event], max_blocks: int) -> None:
    fleet = fleet_of("a", "b", "c", max_blocks=max_blocks)
    for event in history:
        fleet.apply(event)
        for name in "abc":
            # What requests in flight need is kept, and nothing beside it.
            assert fleet.index.held_blocks(name) <= max(max_blocks, fleet.index.claimed_blocks(name))
    fleet.apply(Lapsed(10.0, routed_before_s=10.0))
    assert all(fleet.index.held_blocks(name) <= max_blocks for name in "abc")
    assert len(fleet.index) <= 3 * max_blocks
    for name, state in fleet.replicas.items():
        assert state.capacity.tokens is None or fleet.index.tokens(name) <= state.capacity.tokens


@given(histories(jumping), jumping)
def test_however_the_clock_jumps_every_figure_stays_a_figure(history: list[Event], now_s: float) -> None:
    fleet = fleet_of("a", "b", "c")
    for event in history:
        fleet.apply(event)
        check_figures(fleet, event.at_s)
    check_figures(fleet, now_s)


def check_figures(fleet: Fleet, now_s: float) -> None:
    """Finite and not negative, in what is known and in what strategies are given."""
    for state in fleet.replicas.values():
        amounts = (state.inflight, state.queued_tokens, state.strangers, state.strangers_waiting, state.failures)
        figures = (*amounts, state.kv_usage, state.latency_s or 0.0, state.capacity.tokens or 0)
        speed = (state.speed.tokens_per_s, state.speed.base_s, state.speed.predict_s(1e6))
        for figure in (*figures, *speed, state.arrivals.per_s(now_s), state.work.per_s(now_s), state.wait_s(now_s)):
            assert math.isfinite(figure)
            assert figure >= 0
        assert not math.isnan(state.ask_after_s)
        assert not math.isnan(state.reported_s)
    for candidate in assess(fleet, chain(1, 2, 3, block_tokens=1000), [Option(name, "pool") for name in "abc"], now_s):
        for term in candidate:
            assert not isinstance(term, int | float) or (math.isfinite(term) and term >= 0), candidate
        assert candidate.eviction_chance <= 1
        assert candidate.tokens_per_s > 0

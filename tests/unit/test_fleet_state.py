"""Fleet state is a fold over events: each test is a list of events and what is believed after it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.events import (
    CacheCleared,
    Event,
    Finished,
    FirstToken,
    Lapsed,
    ReplicaDown,
    ReplicaDraining,
    ReplicaProven,
    ReplicaUp,
)
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
    assert fleet.unmatched_reports == 1


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


tickets = st.sampled_from([f"t{i}" for i in range(6)])
replicas = st.sampled_from(["a", "b", "c"])
prompts = st.lists(st.integers(0, 6), max_size=4, unique=True).map(lambda blocks: chain(*blocks))
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(routed, tickets, replicas, prompts, request_id=st.sampled_from(["", "r", "s"])),
    st.builds(FirstToken, st.just(1.0), tickets),
    st.builds(served, tickets, st.one_of(st.none(), replicas), status=st.sampled_from([0, 200, 400, 429, 503])),
    st.builds(Finished, st.just(1.0), st.just(""), request_id=st.sampled_from(["", "r", "s"])),
    st.builds(ReplicaUp, st.just(0.0), replicas, proven=st.booleans()),
    st.builds(ReplicaProven, st.just(0.0), replicas),
    st.builds(ReplicaDown, st.just(0.0), replicas),
    st.builds(ReplicaDraining, st.just(0.0), replicas),
    st.builds(CacheCleared, st.just(0.0), replicas),
    st.builds(Lapsed, st.just(0.0), st.sampled_from([0.0, 0.5])),
)


@given(st.lists(events, max_size=60))
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

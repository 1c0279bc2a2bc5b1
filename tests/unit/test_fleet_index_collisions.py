"""Hashes that do not say what they should: a match may be wrong then, but nothing breaks and nothing leaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.prefix import Chain
from tests.unit.test_fleet_index import index_of
from tests.unit.test_fleet_index_model import check

replicas = st.sampled_from(["a", "b"])
# Not chained: any hash may follow any other, and be on many paths.
colliding = st.lists(st.integers(0, 3), max_size=6).map(
    lambda hashes: Chain(tuple(hashes), (10,) * len(hashes), 10 * len(hashes))
)
calls = st.sampled_from(["store", "claim", "trim", "match"])


@given(st.lists(st.tuples(calls, replicas, colliding), max_size=40), st.sampled_from([None, 30, 60]))
def test_whatever_collides_claims_return_to_zero(history: list[tuple[str, str, Chain]], capacity: int | None) -> None:
    index = index_of("a", "b", capacity=capacity, blocks=10)
    running = []
    for number, (call, replica, prompt) in enumerate(history):
        if call == "store":
            index.store(replica, prompt, float(number), 5)
        elif call == "claim":
            index.claim(replica, prompt)
            running.append((replica, prompt))
        elif call == "trim":
            index.trim(replica, prompt, 10, float(number))
        else:
            assert index.match(prompt).keys() <= {"a", "b"}
        check(index)
    for replica, prompt in running:
        index.release(replica, prompt)
        check(index)
    assert index.claimed_blocks("a") == index.claimed_blocks("b") == 0
    index.clear("a")
    index.remove("b")
    assert (len(index), index.tokens("a"), index.held_blocks("a")) == (0, 0, 0)

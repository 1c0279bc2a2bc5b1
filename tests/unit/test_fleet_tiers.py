"""Tiers in the cache index: what stands behind replicas, who shares it, and what it evicts."""

from __future__ import annotations

import random
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.topology import HostTier, TierKind
from extproc.fleet.events import HostTierReported, RemoteTierReported
from extproc.fleet.index import CacheIndex
from extproc.telemetry.fleet_page import FleetPage
from tests.unit.say import chain, fleet_of


def index_of(*replicas: str, blocks: int = 100, capacity: int | None = None, **domains: str) -> CacheIndex:
    """Replicas whose own caches have this capacity, and tiers of 1,000 tokens by the replica that they are behind."""
    index = CacheIndex(blocks)
    for replica in replicas:
        index.add(replica)
        index.set_capacity(replica, capacity)
    for replica, domain in domains.items():
        index.set_tier(replica, domain, 1000)
    return index


class TestLookUp:
    def test_what_the_replica_evicts_is_still_behind_it(self) -> None:
        index = index_of("a", capacity=30, a="host")
        index.store("a", chain(1, 2, 3))
        index.store("a", chain(7, 8))
        lookup = index.look_up(chain(1, 2, 3, 4))
        assert lookup.tokens == {"a": 10}
        assert lookup.behind == {"host": {"a": 30}}

    def test_a_tier_is_no_replica(self) -> None:
        index = index_of("a", "b", a="host")
        index.store("a", chain(1, 2))
        assert index.match(chain(1, 2)) == {"a": 20}
        for name in ("host", "of a"):
            assert index.tokens(name) == index.held_blocks(name) == 0
        assert index.tokens("a") == 20
        assert len(index) == 2  # distinct blocks, however many hold them

    def test_a_replica_may_be_called_what_another_domain_is_called(self) -> None:
        index = index_of("a", "host:8000", a="host:8000")
        index.store("a", chain(1))
        assert index.match(chain(1)) == {"a": 10}
        assert index.look_up(chain(1)).behind == {"host": {"a": 10}}

    def test_without_a_tier_nothing_is_behind_anybody(self) -> None:
        index = index_of("a", "b")
        index.store("a", chain(1))
        assert index.look_up(chain(1)).behind == {}

    def test_what_is_in_flight_is_not_behind_the_replica_yet(self) -> None:
        index = index_of("a", a="host")
        index.claim("a", chain(1, 2))
        assert index.match(chain(1, 2)) == {"a": 20}
        assert index.look_up(chain(1, 2)).behind == {}


class TestSharing:
    def test_replicas_of_one_domain_find_what_any_of_them_has_served(self) -> None:
        index = index_of("a", "b", "c", a="host", b="host", c="other")
        index.store("a", chain(1, 2))
        assert index.look_up(chain(1, 2)).tokens == {"a": 20}
        assert index.look_up(chain(1, 2)).behind == {"host": {"a": 20, "b": 20}}

    def test_the_size_of_a_domain_counts_once(self) -> None:
        index = index_of("a", "b", a="host", b="host")
        for number in range(100):
            index.store("ab"[number % 2], chain(number, number + 1000))
        tier = index.tier("a")
        assert tier is not None and tier is index.tier("b")
        assert tier.tokens == tier.capacity_tokens == 1000

    def test_a_tier_outlives_its_replicas_but_for_the_last(self) -> None:
        index = index_of("a", "b", a="host", b="host")
        index.store("a", chain(1, 2))
        index.remove("a")
        assert index.look_up(chain(1, 2)).behind == {"host": {"b": 20}}
        index.remove("b")
        assert len(index) == 0
        index.add("b")
        index.set_tier("b", "host", 1000)
        assert index.look_up(chain(1, 2)).behind == {}

    def test_a_replica_that_moves_to_another_domain_finds_what_is_there(self) -> None:
        index = index_of("a", "b", a="host", b="other")
        index.store("a", chain(1))
        index.store("b", chain(2))
        index.set_tier("a", "other", 1000)
        assert index.look_up(chain(2)).behind == {"host": {"a": 10, "b": 10}}
        index.clear("a")
        assert index.match(chain(1)) == {}  # nobody is in front of that tier any more

    def test_a_bit_that_a_tier_gave_back_serves_a_replica(self) -> None:
        index = index_of("a", a="host")
        index.store("a", chain(1))
        index.set_tier("a", None)
        index.add("b")
        assert index.match(chain(1)) == {"a": 10}
        index.store("b", chain(1, 2))
        assert index.match(chain(1, 2)) == {"a": 10, "b": 20}
        assert index.look_up(chain(1)).behind == {}


class TestRemote:
    def index(self, *replicas: str, tokens: int = 1000, **hosts: int) -> CacheIndex:
        """Replicas that all reach one remote tier, and the sizes of their own host tiers."""
        index = index_of(*replicas, capacity=20)
        for replica in replicas:
            index.set_tier(replica, "store", tokens, "remote")
        for replica, size in hosts.items():
            index.set_tier(replica, f"of {replica}", size)
        return index

    def test_every_replica_that_reaches_it_finds_what_any_of_them_has_served(self) -> None:
        index = self.index("a", "b", "c", a=1000)
        index.add("far")
        index.store("a", chain(1, 2))
        assert index.look_up(chain(1, 2)).tokens == {"a": 20}
        assert index.look_up(chain(1, 2)).behind == {"host": {"a": 20}, "remote": {"a": 20, "b": 20, "c": 20}}

    def test_it_still_has_what_the_host_has_forgotten(self) -> None:
        index = self.index("a", a=40)
        for start in (1, 4, 7):
            index.store("a", chain(start, start + 1, start + 2))
        assert index.look_up(chain(1, 2, 3)).behind == {"remote": {"a": 30}}
        assert index.look_up(chain(4, 5, 6)).behind == {"host": {"a": 10}, "remote": {"a": 30}}

    def test_it_holds_what_was_served_last_wherever_that_was(self) -> None:
        index = self.index("a", "b", tokens=50)
        for number, replica in enumerate("abab"):
            index.store(replica, chain(number, number + 100))
        assert index.look_up(chain(0, 100)).behind == {}
        assert index.look_up(chain(1, 101)).behind == {"remote": {"a": 10, "b": 10}}
        assert index.look_up(chain(2, 102)).behind == {"remote": {"a": 20, "b": 20}}

    def test_the_host_tier_is_nearer_whichever_was_told_of_first(self) -> None:
        index = self.index("a", a=500)
        assert [tier.kind for tier in index.tiers("a")] == ["host", "remote"]
        index.set_tier("a", None)
        assert [tier.kind for tier in index.tiers("a")] == ["remote"]

    def test_a_domain_may_be_called_what_the_store_is_called(self) -> None:
        index = self.index("a")
        index.set_tier("a", "store", 500)
        host, remote = index.tiers("a")
        assert (host.capacity_tokens, remote.capacity_tokens) == (500, 1000)

    def test_it_goes_with_the_last_replica_that_reaches_it(self) -> None:
        index = self.index("a", "b")
        index.store("a", chain(1, 2))
        index.remove("a")
        assert index.look_up(chain(1, 2)).behind == {"remote": {"b": 20}}
        index.clear("b")
        assert index.look_up(chain(1, 2)).behind == {"remote": {"b": 20}}
        index.set_tier("b", None, kind="remote")
        assert len(index) == 0

    @pytest.mark.parametrize("remote_tokens", [None, 1_000_000])
    def test_what_the_host_evicts_is_lost_unless_the_remote_tier_has_it(self, remote_tokens: int | None) -> None:
        index = index_of("a", capacity=100_000)
        index.set_tier("a", "host", 200_000)
        if remote_tokens:
            index.set_tier("a", "store", remote_tokens, "remote")
        for number in range(4):
            index.store("a", chain(number, number + 10, block_tokens=50_000), 100.0 * number)
        assert sum(index.reuse._unused) == pytest.approx(300_000)
        # Two prompts are gone from the host tier, idle for 200 s. GPUs evicted each after 100.
        unused_long = sum(index.reuse._unused[10:])
        assert unused_long == pytest.approx(0 if remote_tokens else 200_000)

    def test_what_the_remote_tier_evicts_last_is_lost_then(self) -> None:
        index = index_of("a", capacity=100_000)
        index.set_tier("a", "host", 100_000)
        index.set_tier("a", "store", 200_000, "remote")
        for number in range(4):
            index.store("a", chain(number, number + 10, block_tokens=50_000), 100.0 * number)
        assert sum(index.reuse._unused) == pytest.approx(300_000)
        assert sum(index.reuse._unused[10:]) == pytest.approx(200_000)


class TestSizes:
    def test_a_full_tier_forgets_the_tail_of_what_was_served_longest_ago(self) -> None:
        index = index_of("a", capacity=20)
        index.set_tier("a", "host", 50)
        for prompt in (chain(1, 2, 3), chain(4, 5, 6)):
            index.store("a", prompt)
        assert index.look_up(chain(1, 2, 3)).behind == {"host": {"a": 20}}
        assert index.look_up(chain(4, 5, 6)).behind == {"host": {"a": 30}}

    def test_the_bound_of_blocks_holds_for_a_tier_however_large_it_is(self) -> None:
        index = index_of("a", blocks=5, capacity=10)
        index.set_tier("a", "host", 10**12)
        for start in range(0, 100, 4):
            index.store("a", chain(*range(start, start + 4)))
            assert len(index) <= 6
        tier = index.tier("a")
        assert tier is not None and tier.shadow.held_blocks == 5

    def test_a_tier_that_shrinks_evicts_at_once(self) -> None:
        index = index_of("a", capacity=10, a="host")
        index.store("a", chain(1, 2, 3, 4))
        index.set_tier("a", "host", 25)
        assert index.look_up(chain(1, 2, 3, 4)).behind == {"host": {"a": 20}}

    @pytest.mark.parametrize("tokens", [0, -1])
    def test_a_tier_without_room_is_refused(self, tokens: int) -> None:
        with pytest.raises(ValueError, match="must have room"):
            index_of("a").set_tier("a", "host", tokens)

    def test_a_tier_behind_nobody_known_is_nothing(self) -> None:
        index = index_of("a")
        index.set_tier("ghost", "host", 1000)
        assert index.tier("ghost") is None
        assert index.trim_tier("ghost", chain(1), 0, 1.0) == 0


class TestForgetting:
    def test_a_cleared_replica_finds_its_prompts_behind_it(self) -> None:
        index = index_of("a", a="host")
        index.store("a", chain(1, 2))
        index.clear("a")
        assert index.match(chain(1, 2)) == {}
        assert index.look_up(chain(1, 2)).behind == {"host": {"a": 20}}

    def test_trimming_the_one_leaves_the_other(self) -> None:
        index = index_of("a", a="host")
        index.store("a", chain(1, 2, 3), 1.0)
        assert index.trim_tier("a", chain(1, 2, 3), 10, 2.0) == 20
        assert (index.match(chain(1, 2, 3)), index.look_up(chain(1, 2, 3)).behind) == ({"a": 30}, {"host": {"a": 10}})
        assert index.trim("a", chain(1, 2, 3), 20, 2.0) == 10
        assert (index.match(chain(1, 2, 3)), index.look_up(chain(1, 2, 3)).behind) == ({"a": 20}, {"host": {"a": 10}})


class TestReuse:
    def test_what_a_tier_gave_back_was_used_again(self) -> None:
        def chance(prompt_again: bool) -> float:
            index = index_of("a", capacity=100_000)
            index.set_tier("a", "host", 10_000_000)
            old, new = chain(1, 2, block_tokens=50_000), chain(3, 4, block_tokens=50_000)
            index.store("a", old, 0.0)
            index.store("a", new, 10.0)
            index.claim("a", old if prompt_again else chain(5), 20.0)
            return index.reuse.chance(10.0)

        assert chance(prompt_again=True) > 0.4 > 0.2 > chance(prompt_again=False)

    def test_what_the_tier_evicts_in_the_end_counts_as_unused_for_as_long_as_it_was_kept(self) -> None:
        index = index_of("a", capacity=100_000)
        index.set_tier("a", "host", 200_000)
        for number in range(4):
            index.store("a", chain(number, number + 10, block_tokens=50_000), 100.0 * number)
        # Of four prompts of 100,000 tokens two are gone from the tier, idle for 200 s, and one from the replica alone.
        unused = sum(index.reuse._unused)
        assert unused == pytest.approx(300_000)
        assert index.reuse.chance(150.0) < 0.2


@given(
    calls=st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 2), max_size=6), st.integers(0, 30)), max_size=40
    ),
    sizes=st.tuples(st.integers(10, 80), st.integers(10, 200), st.integers(10, 400)),
)
def test_a_tier_is_what_a_replica_would_be_that_served_all_who_have_it_behind_them(
    calls: list[tuple[str, list[int], int]], sizes: tuple[int, int, int]
) -> None:
    backed, plain = index_of(*"abc", capacity=sizes[0]), index_of(*"abc", "host", "remote", capacity=sizes[0])
    hosted, reaching = "ab", "bc"
    for replica in hosted:
        backed.set_tier(replica, "host", sizes[1])
    for replica in reaching:
        backed.set_tier(replica, "store", sizes[2], "remote")
    plain.set_capacity("host", sizes[1])
    plain.set_capacity("remote", sizes[2])
    for at_s, (replica, blocks, answer_tokens) in enumerate(calls):
        prompt = chain(*blocks)
        for index in (backed, plain):
            index.claim(replica, prompt, float(at_s))
            index.store(replica, prompt, float(at_s), answer_tokens)
            index.release(replica, prompt)
        if replica in hosted:
            plain.store("host", prompt, float(at_s))
        if replica in reaching:
            plain.store("remote", prompt, float(at_s))
        for _, asked, _ in calls:
            expected = plain.match(chain(*asked))
            held = {"host": expected.pop("host", 0), "remote": expected.pop("remote", 0)}
            found = backed.look_up(chain(*asked))
            assert found.tokens == expected
            assert found.behind == {
                kind: dict.fromkeys(hosted if kind == "host" else reaching, tokens)
                for kind, tokens in held.items()
                if tokens
            }


def test_memberships_and_stores_in_any_order_leave_nothing_behind() -> None:
    dice = random.Random(7)
    index = CacheIndex(12)
    names, domains, kinds = ("a", "b", "c"), ("x", "y", None), typing.get_args(TierKind)
    for at_s in range(3000):
        name, prompt = dice.choice(names), chain(*(dice.randrange(3) for _ in range(dice.randrange(1, 6))))
        action = dice.randrange(8)
        if action == 0:
            index.add(name)
        elif action == 1:
            index.set_tier(name, dice.choice(domains), dice.choice((20, 50, 500)), dice.choice(kinds))
        elif action == 2 and at_s % 7 == 0:
            index.remove(name)
        elif action == 3:
            index.trim_tier(name, prompt, dice.randrange(0, 50, 10), float(at_s), dice.choice(kinds))
        elif action == 4:
            index.set_capacity(name, dice.choice((10, 30, 60)))
        elif action == 5:
            index.claim(name, prompt, float(at_s))
            index.release(name, prompt)
        else:
            index.store(name, prompt, float(at_s), dice.randrange(20))
        lookup = index.look_up(prompt)
        assert set(lookup.tokens) <= set(names)
        for kind, held in lookup.behind.items():
            for each, tokens in held.items():
                tier = index.tier(each, kind)
                assert tier is not None and 0 < tokens <= tier.tokens <= (tier.capacity_tokens or 0)
    for name in names:
        index.remove(name)
    assert len(index) == 0


def test_what_is_behind_a_replica_is_a_metric_of_those_that_have_a_tier() -> None:
    fleet = fleet_of("a", "b")
    fleet.apply(HostTierReported(0.0, "a", HostTier(1000)))
    fleet.apply(RemoteTierReported(0.0, "a", 5000))
    fleet.index.store("a", chain(1, 2))
    lines = [line for family in FleetPage(fleet, lambda: 0.0).families() for line in family.lines()]
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(samples['kvgate_replica_host_tier_tokens{replica="a"}']) == 20
    assert float(samples['kvgate_replica_restore_tokens_per_second{replica="a"}']) == 60_000
    assert float(samples['kvgate_replica_remote_tier_tokens{replica="a"}']) == 20
    assert float(samples['kvgate_replica_remote_restore_tokens_per_second{replica="a"}']) == 7_500
    assert not [name for name in samples if 'replica="b"' in name and ("tier" in name or "restore" in name)]
    assert float(samples['kvgate_replica_index_tokens{replica="a"}']) == 20

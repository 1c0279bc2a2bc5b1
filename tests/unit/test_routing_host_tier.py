"""What a host tier changes in a decision, and what answers teach about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.topology import HostTier
from extproc.fleet.events import CacheCleared, HostTierReported, ReplicaDown, ReplicaUp, Routed
from extproc.fleet.restore import PRIOR_TOKENS_PER_S, RestoreRate
from extproc.fleet.state import Fleet
from extproc.routing.behind import used_before
from tests.unit.candidates import host, replica
from tests.unit.say import chain, fleet_of, routed
from tests.unit.tiered import TOKENS, candidates, decide, fleet_with_tiers, prompt, serve

PRIOR = PRIOR_TOKENS_PER_S["host"]


class TestCost:
    def test_what_the_replica_evicted_and_its_tier_has_is_restored_not_computed(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000), b=None)
        serve(fleet, "a", prompt(1), 0.0)
        serve(fleet, "a", prompt(50), 10.0)
        found = candidates(fleet, prompt(1))
        assert (found["a"].matched_tokens, found["a"].restorable_tokens) == (0, TOKENS)
        assert found["a"].uncached_tokens(TOKENS) == 0
        assert found["a"].restore_s == pytest.approx(TOKENS / PRIOR)
        assert (found["b"].restorable_tokens, found["b"].uncached_tokens(TOKENS)) == (0, TOKENS)

    @given(wait_s=st.floats(0, 3), rate=st.floats(1000, 10**6), held=st.integers(0, TOKENS))
    def test_a_tier_is_preferred_to_a_cold_replica_when_the_first_token_is_sooner_there_and_only_then(
        self, wait_s: float, rate: float, held: int
    ) -> None:
        behind = replica("a", behind=(host(held, rate),), wait_s=wait_s)
        cold = replica("b")
        ranking = decide(behind, cold)
        sooner_s = cold.ttft_s(TOKENS) - behind.ttft_s(TOKENS)
        if abs(sooner_s) > 0.05:  # else they are equals
            assert ranking.best.name == ("a" if sooner_s > 0 else "b")

    def test_a_copy_on_the_gpu_is_preferred_to_one_in_the_tier(self) -> None:
        behind = replica("a", behind=(host(TOKENS),), lasting_tokens=0.0)
        assert decide(behind, replica("b", matched_tokens=TOKENS)).best.name == "b"

    def test_what_is_restored_more_slowly_than_computed_is_taken_for_computed(self) -> None:
        slow = replica("a", behind=(host(TOKENS, 1000.0),), tokens_per_s=8000.0)
        assert (slow.restored_tokens, slow.restore_s, slow.uncached_tokens(TOKENS)) == (0, 0.0, TOKENS)
        assert slow.ttft_s(TOKENS) == replica("b", tokens_per_s=8000.0).ttft_s(TOKENS)

    def test_a_prompt_that_is_restored_counts_as_warm(self) -> None:
        ranking = decide(replica("a", behind=(host(TOKENS),)), replica("b"))
        assert ranking.reason == "warm"
        assert decide(replica("b", matched_tokens=10), replica("a")).elsewhere_tokens == 0
        assert decide(replica("b", matched_tokens=TOKENS), ranking.best).elsewhere_tokens == TOKENS

    def test_evicting_costs_less_where_a_tier_keeps_what_is_evicted(self) -> None:
        full = replica("a", lasting_tokens=float(TOKENS), eviction_chance=0.8)
        backed = full._replace(name="b", behind=(host(0, retrieval_chance=0.7),))
        copies = {score.candidate.name: dict(score.terms)["copy_s"] for score in decide(full, backed).scores}
        assert copies["b"] < copies["a"] / 3

    def test_what_is_restored_evicts_too(self) -> None:
        calm = replica("a", behind=(host(TOKENS, lasting_tokens=float(TOKENS)),))
        full = calm._replace(name="b", eviction_chance=0.8)
        copies = {score.candidate.name: dict(score.terms)["copy_s"] for score in decide(calm, full).scores}
        assert copies["a"] == pytest.approx(0.0, abs=1e-6)
        assert copies["b"] > 0.5

    @given(chance=st.floats(0, 1), later=st.floats(0, 1))
    def test_the_chance_to_come_back_in_time_is_part_of_that_to_come_back(self, chance: float, later: float) -> None:
        assert 0 <= used_before(chance, later) <= chance

    def test_a_tier_that_keeps_no_longer_than_the_replica_saves_nothing(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(4000))
        for number in range(4):
            serve(fleet, "a", prompt(100 * number), 10.0 * number)
        found = candidates(fleet, prompt(7000), 40.0)["a"]
        assert found.eviction_chance > 0
        assert found.behind[0].retrieval_chance == 0

    def test_restoring_is_shown_where_there_is_something_to_restore(self) -> None:
        receipt = decide(replica("a", behind=(host(6000),)), replica("b")).receipt()
        lines = {line["name"]: line for line in receipt["replicas"]}
        assert lines["a"]["restorable_tokens"] == 6000
        assert lines["a"]["restore_s"] == lines["a"]["terms"]["restore_s"] == 0.1
        assert lines["a"]["uncached_tokens"] == 2000
        assert "restore_s" not in lines["b"] and "restore_s" not in lines["b"]["terms"]

    def test_restoring_holds_up_the_prompts_behind_it(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        sent = Routed(0.0, "t", "", "a", prompt(1), 0, timed=True, restored_tokens=TOKENS, restore_s=0.5)
        fleet.apply(sent)
        assert fleet.replicas["a"].wait_s(0.0) == pytest.approx(0.5)


class TestTheFleet:
    def test_replicas_of_one_domain_share_what_is_behind_them(self) -> None:
        shared = HostTier(100_000, "host-1")
        fleet = fleet_with_tiers(a=shared, b=shared, c=HostTier(100_000))
        serve(fleet, "a", prompt(1))
        assert {name: each.restorable_tokens for name, each in candidates(fleet, prompt(1)).items()} == {
            "a": 0,
            "b": TOKENS,
            "c": 0,
        }
        fleet.apply(ReplicaDown(20.0, "a"))
        assert candidates(fleet, prompt(1))["b"].restorable_tokens == TOKENS

    def test_a_replica_that_comes_back_has_lost_a_tier_of_its_own(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        serve(fleet, "a", prompt(1))
        fleet.apply(ReplicaDown(1.0, "a"))
        fleet.apply(ReplicaUp(2.0, "a"))
        fleet.apply(HostTierReported(2.0, "a", HostTier(100_000)))
        assert candidates(fleet, prompt(1))["a"].restorable_tokens == 0

    def test_a_cache_that_is_cleared_leaves_the_tier(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        serve(fleet, "a", prompt(1))
        fleet.apply(CacheCleared(1.0, "a"))
        assert candidates(fleet, prompt(1))["a"].restorable_tokens == TOKENS

    def test_a_tier_behind_an_unknown_replica_changes_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(HostTierReported(0.0, "ghost", HostTier(1000)))
        assert list(fleet.replicas) == ["a"]


class TestRestoreRate:
    def restore_once(self, fleet: Fleet, at_s: float, ttft_s: float, cached_tokens: int | None = TOKENS) -> None:
        """The prompt is pushed out of the replica by another one and asked for again."""
        serve(fleet, "a", prompt(1), at_s)
        serve(fleet, "a", prompt(50), at_s + 10)
        serve(fleet, "a", prompt(1), at_s + 20, ttft_s=ttft_s, cached_tokens=cached_tokens)

    def rate(self, fleet: Fleet) -> float:
        return fleet.restore_rate(fleet.replicas["a"], "").tokens_per_s

    @pytest.mark.parametrize("real", [15_000.0, 40_000.0, 300_000.0])
    def test_it_is_learned_from_first_tokens_of_restored_prompts(self, real: float) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        base_s = fleet.replicas["a"].speed.base_s
        for turn in range(30):
            self.restore_once(fleet, 100.0 * turn, base_s + TOKENS / real)
        assert self.rate(fleet) == pytest.approx(real, rel=0.1)

    def test_the_prefill_speed_is_not_taken_for_slower_or_faster_by_it(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        before = fleet.replicas["a"].speed.tokens_per_s, fleet.replicas["a"].speed.base_s
        for turn in range(30):
            self.restore_once(fleet, 100.0 * turn, 0.5)
        assert (fleet.replicas["a"].speed.tokens_per_s, fleet.replicas["a"].speed.base_s) == before

    def test_a_prompt_of_which_little_is_restored_teaches_the_speed_less_that_time(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        for turn in range(40):
            at_s = 100.0 * turn
            head = chain(1, block_tokens=1000)
            serve(fleet, "a", head, at_s)
            serve(fleet, "a", prompt(50), at_s + 10)
            asked = chain(1, *range(1000 + 10 * turn, 1007 + 10 * turn), block_tokens=1000)
            real_s = 0.03 + 7000 / 4000 + 1000 / PRIOR
            serve(fleet, "a", asked, at_s + 20, ttft_s=real_s, cached_tokens=1000)
        assert fleet.replicas["a"].speed.predict_s(7000) == pytest.approx(0.03 + 7000 / 4000, rel=0.03)
        assert self.rate(fleet) == PRIOR

    @pytest.mark.parametrize("cached_tokens", [None, 0, 4000])
    def test_nothing_is_learned_unless_the_engine_says_that_it_was_restored(self, cached_tokens: int | None) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        self.restore_once(fleet, 0.0, 0.8, cached_tokens)
        assert self.rate(fleet) == PRIOR

    def test_one_hiccup_moves_little_and_no_time_leads_out_of_bounds(self) -> None:
        rate = RestoreRate(PRIOR)
        for _ in range(50):
            rate.learn(8000, 8000 / 50_000)
        rate.learn(8000, 3600.0)
        assert rate.tokens_per_s > 45_000
        for wrong in (float("nan"), float("inf")):
            rate.learn(8000, wrong)
            rate.learn(wrong, 1.0)
        rate.learn(0, 1.0)
        assert rate.samples == 51
        for _ in range(10_000):
            rate.learn(8000, -1.0)
        assert 1e7 < rate.tokens_per_s <= 1e8
        for _ in range(10_000):
            rate.learn(8000, 1e9)
        assert 100.0 <= rate.tokens_per_s < 1000.0

    def test_a_new_replica_is_presumed_to_restore_as_fast_as_the_others(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000), b=HostTier(100_000))
        for turn in range(30):
            self.restore_once(fleet, 100.0 * turn, 0.03 + TOKENS / 20_000)
        assert fleet.restore_rate(fleet.replicas["b"], "").tokens_per_s == pytest.approx(20_000, rel=0.1)
        assert fleet.restore_rate(fleet.replicas["b"], "another model").tokens_per_s == PRIOR

    def test_a_rate_below_the_prefill_speed_can_be_unlearned(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        for turn in range(40):
            self.restore_once(fleet, 100.0 * turn, 0.03 + TOKENS / 4000)
        assert candidates(fleet, prompt(1), 9999.0)["a"].restored_tokens == 0
        for turn in range(60, 120):
            self.restore_once(fleet, 100.0 * turn, 0.03 + TOKENS / 50_000)
        assert self.rate(fleet) > 40_000


class TestTrimming:
    def ask(self, fleet: Fleet, cached_tokens: int, *, evicted: bool = False) -> None:
        """The prompt is served, then asked for again; what the answer says is undone by nothing but the answer."""
        serve(fleet, "a", prompt(1), 0.0)
        if evicted:
            serve(fleet, "a", chain(*range(50, 54), block_tokens=1000), 10.0)
        sent = candidates(fleet, prompt(1), 20.0)["a"]
        event = routed("t", "a", prompt(1), at_s=20.0, matched=sent.reused_tokens)
        fleet.apply(event)
        learned = fleet._lessons._correct_cache(fleet.replicas["a"], event, cached_tokens)
        assert (learned > 0) == (cached_tokens < 7000)

    def test_fewer_cached_tokens_than_the_replica_held_trim_both(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        self.ask(fleet, 2000)
        assert fleet.index.look_up(prompt(1)).behind == {"host": {"a": 3000}}  # within the tolerance
        assert fleet.index.held_blocks("a") == 3

    def test_fewer_than_the_tier_held_but_not_than_the_replica_trim_the_tier(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        self.ask(fleet, 5000, evicted=True)
        assert fleet.index.look_up(prompt(1)).behind == {"host": {"a": 6000}}
        assert fleet.replicas["a"].capacity.tokens == TOKENS

    def test_a_tier_that_is_smaller_than_configured_is_found_out(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        for turn in range(40):
            for topic in range(8):
                asked = prompt(100 * topic)
                held = candidates(fleet, asked, 1000.0 * turn + 10 * topic)["a"]
                serve(fleet, "a", asked, 1000.0 * turn + 10 * topic, cached_tokens=held.matched_tokens)
        tier = fleet.index.tier("a")
        assert tier is not None and tier.capacity_tokens is not None
        assert tier.capacity_tokens < 64_000

    def test_more_than_believed_says_nothing_of_the_replica_itself(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000))
        fleet.replicas["a"].capacity.too_high(5000)
        before = fleet.replicas["a"].capacity.tokens
        serve(fleet, "a", prompt(1), 0.0, cached_tokens=TOKENS)
        assert fleet.replicas["a"].capacity.tokens == before

"""What the store behind all host tiers changes in a decision, and what answers teach about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.topology import HostTier, TierKind
from extproc.fleet.events import CacheCleared, RemoteTierReported, ReplicaDown, Routed
from extproc.fleet.restore import PRIOR_TOKENS_PER_S
from extproc.fleet.speed import Speed
from extproc.fleet.state import Fleet
from tests.unit.candidates import host, remote, replica
from tests.unit.say import chain, fleet_of
from tests.unit.tiered import TOKENS, candidates, decide, fleet_with_tiers, prompt, serve


class TestCost:
    def test_a_replica_that_never_served_the_prompt_finds_it_in_the_store(self) -> None:
        fleet = fleet_with_tiers(a=None, b=HostTier(100_000), remote_tokens=1_000_000)
        serve(fleet, "a", prompt(1))
        found = candidates(fleet, prompt(1))
        assert (found["a"].matched_tokens, found["a"].restorable_tokens) == (TOKENS, 0)
        assert (found["b"].matched_tokens, found["b"].remote_tokens) == (0, TOKENS)

    @given(wait_s=st.floats(0, 3), rate=st.floats(1000, 10**6), held=st.integers(0, TOKENS))
    def test_a_cold_replica_is_preferred_to_a_busy_warm_one_when_its_first_token_is_sooner_and_only_then(
        self, wait_s: float, rate: float, held: int
    ) -> None:
        warm = replica("a", matched_tokens=TOKENS, wait_s=wait_s)
        cold = replica("b", behind=(remote(held, rate),))
        sooner_s = warm.ttft_s(TOKENS) - cold.ttft_s(TOKENS)
        if abs(sooner_s) > 0.05:  # else they are equals
            assert decide(warm, cold).best.name == ("b" if sooner_s > 0 else "a")

    def test_what_the_host_has_is_restored_from_there_and_the_rest_from_the_store(self) -> None:
        both = replica("a", matched_tokens=1000, behind=(host(2000, 50_000.0), remote(4000, 20_000.0)))
        assert (both.restored_tokens, both.uncached_tokens(TOKENS)) == (6000, 1000)
        assert both.restore_s == pytest.approx(2000 / 50_000 + 4000 / 20_000)

    def test_a_store_that_is_slower_than_computing_leaves_what_the_host_has(self) -> None:
        slow = replica("a", behind=(host(2000), remote(4000, 5000.0)), tokens_per_s=8000.0)
        assert (slow.restored_tokens, slow.uncached_tokens(TOKENS)) == (2000, 6000)

    def test_nothing_is_restored_behind_what_is_computed(self) -> None:
        slow = replica("a", behind=(host(2000, 1000.0), remote(4000, 50_000.0)), tokens_per_s=8000.0)
        assert (slow.restored_tokens, slow.restore_s) == (0, 0.0)
        empty = slow._replace(behind=(host(0, 1000.0), remote(4000, 50_000.0)))
        assert empty.restored_tokens == 4000

    def test_while_its_rate_is_not_known_it_draws_nobody(self) -> None:
        assert PRIOR_TOKENS_PER_S["remote"] < Speed().tokens_per_s
        fleet = fleet_with_tiers(a=None, remote_tokens=1_000_000)
        serve(fleet, "a", prompt(1), 0.0)
        serve(fleet, "a", prompt(50), 10.0)
        found = candidates(fleet, prompt(1))["a"]
        assert (found.remote_tokens, found.restored_tokens) == (TOKENS, 0)

    def test_evicting_costs_less_the_more_of_it_comes_back_from_a_nearer_tier(self) -> None:
        full = replica("none", lasting_tokens=float(TOKENS), eviction_chance=0.8)
        behind = {
            "remote": (host(0), remote(0, 20_000.0, retrieval_chance=0.7)),
            "both": (host(0, retrieval_chance=0.3), remote(0, 20_000.0, retrieval_chance=0.4)),
            "host": (host(0, retrieval_chance=0.7), remote(0, 20_000.0)),
        }
        backed = [full._replace(name=name, behind=tiers) for name, tiers in behind.items()]
        copies = {score.candidate.name: dict(score.terms)["copy_s"] for score in decide(full, *backed).scores}
        assert copies["none"] > copies["remote"] > copies["both"] > copies["host"]

    def test_the_store_retrieves_what_it_keeps_longer_than_the_host_does(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(16_000), remote_tokens=1_000_000)
        for number in range(6):
            serve(fleet, "a", prompt(100 * number), 10.0 * number)
        for idle_s in (3.0, 30.0):
            fleet.index.reuse.used(idle_s, 100_000)
        nearer, farther = candidates(fleet, prompt(7000), 60.0)["a"].behind
        assert nearer.retrieval_chance > 0
        assert farther.retrieval_chance > 0
        total = nearer.retrieval_chance + farther.retrieval_chance
        assert total <= candidates(fleet, prompt(7000), 60.0)["a"].eviction_chance

    def test_a_receipt_says_what_is_restored_from_where(self) -> None:
        ranking = decide(replica("a", behind=(host(2000), remote(4000, 20_000.0))), replica("b", behind=(host(2000),)))
        lines = {line["name"]: line for line in ranking.receipt()["replicas"]}
        assert (lines["a"]["restorable_tokens"], lines["a"]["remote_tokens"]) == (6000, 4000)
        assert lines["a"]["restore_s"] == pytest.approx(0.2333)
        assert "remote_tokens" not in lines["b"]


class TestTheFleet:
    def test_it_outlives_who_served_the_prompt_and_caches_that_are_cleared(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(100_000), b=None, remote_tokens=1_000_000)
        serve(fleet, "a", prompt(1))
        fleet.apply(CacheCleared(20.0, "a"))
        fleet.apply(ReplicaDown(20.0, "a"))
        assert candidates(fleet, prompt(1))["b"].remote_tokens == TOKENS

    def test_it_keeps_what_a_domain_has_forgotten(self) -> None:
        domain = HostTier(2 * TOKENS, "host-1")
        fleet = fleet_with_tiers(a=domain, b=domain, remote_tokens=1_000_000)
        for topic in (1, 50, 100):
            serve(fleet, "a", prompt(topic), 10.0 * topic)
        assert [tier.tokens for tier in candidates(fleet, prompt(1), 2000.0)["b"].behind] == [0, TOKENS]
        assert [tier.tokens for tier in candidates(fleet, prompt(50), 2000.0)["b"].behind] == [TOKENS, 0]

    def test_a_replica_that_does_not_reach_it_finds_nothing_there(self) -> None:
        fleet = fleet_with_tiers(a=None, b=None, remote_tokens=1_000_000)
        fleet.apply(RemoteTierReported(0.0, "b", None))
        serve(fleet, "a", prompt(1))
        assert candidates(fleet, prompt(1))["b"].behind == ()
        serve(fleet, "b", prompt(50))
        assert candidates(fleet, prompt(50))["a"].restorable_tokens == 0

    def test_behind_an_unknown_replica_it_changes_nothing(self) -> None:
        fleet = fleet_of("a")
        fleet.apply(RemoteTierReported(0.0, "ghost", 1000))
        assert list(fleet.replicas) == ["a"]


class TestRestoreRates:
    def rates(self, fleet: Fleet, name: str = "a") -> dict[TierKind, float]:
        state = fleet.replicas[name]
        kinds: tuple[TierKind, ...] = ("host", "remote")
        return {kind: fleet.restore_rate(state, "", kind).tokens_per_s for kind in kinds}

    def ask(self, fleet: Fleet, at_s: float, real: dict[TierKind, float], *, between: int) -> Routed:
        """A prompt is served, others push it out of nearer caches, and it is asked for again."""
        serve(fleet, "a", prompt(1), at_s)
        for number in range(between):
            serve(fleet, "a", prompt(100 + 10 * number), at_s + 10 + number)
        behind = candidates(fleet, prompt(1), at_s + 50)["a"].behind
        ttft_s = Speed().base_s + sum(tier.tokens / real[tier.kind] for tier in behind)
        return serve(fleet, "a", prompt(1), at_s + 50, ttft_s=ttft_s, cached_tokens=TOKENS)

    @pytest.mark.parametrize("real", [2000.0, 40_000.0])
    def test_that_of_the_store_is_learned_apart_from_the_hosts(self, real: float) -> None:
        fleet = fleet_with_tiers(a=HostTier(2 * TOKENS), remote_tokens=1_000_000)
        for turn in range(40):
            self.ask(fleet, 100.0 * turn, {"host": 30_000.0, "remote": real}, between=4)
        assert self.rates(fleet) == {"host": PRIOR_TOKENS_PER_S["host"], "remote": pytest.approx(real, rel=0.1)}

    def test_that_of_the_host_is_learned_apart_from_the_stores(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(2 * TOKENS), remote_tokens=1_000_000)
        for turn in range(40):
            self.ask(fleet, 100.0 * turn, {"host": 30_000.0, "remote": 20_000.0}, between=1)
        assert self.rates(fleet) == {"host": pytest.approx(30_000, rel=0.1), "remote": PRIOR_TOKENS_PER_S["remote"]}

    def test_a_prompt_from_both_teaches_that_of_the_tier_which_took_most(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(2 * TOKENS), remote_tokens=1_000_000)
        real: dict[TierKind, float] = {"host": PRIOR_TOKENS_PER_S["host"], "remote": 20_000.0}
        for turn in range(60):
            at_s = 100.0 * turn
            serve(fleet, "a", prompt(1), at_s)
            serve(fleet, "a", chain(*range(200, 212), block_tokens=1000), at_s + 20)
            behind = candidates(fleet, prompt(1), at_s + 50)["a"].behind
            assert [tier.tokens for tier in behind] == [4000, 4000]
            ttft_s = Speed().base_s + sum(tier.tokens / real[tier.kind] for tier in behind)
            serve(fleet, "a", prompt(1), at_s + 50, ttft_s=ttft_s, cached_tokens=TOKENS)
        assert self.rates(fleet) == {"host": PRIOR_TOKENS_PER_S["host"], "remote": pytest.approx(20_000, rel=0.1)}

    def test_the_prefill_speed_is_not_taken_for_another_by_it(self) -> None:
        fleet = fleet_with_tiers(a=None, remote_tokens=1_000_000)
        speed = fleet.replicas["a"].speed
        before = speed.tokens_per_s, speed.base_s
        for turn in range(30):
            self.ask(fleet, 100.0 * turn, {"remote": 3000.0}, between=1)
        assert (fleet.replicas["a"].speed.tokens_per_s, fleet.replicas["a"].speed.base_s) == before

    def test_a_replica_that_is_new_begins_with_the_rate_of_the_others(self) -> None:
        fleet = fleet_with_tiers(a=None, b=None, remote_tokens=1_000_000)
        for turn in range(30):
            self.ask(fleet, 100.0 * turn, {"remote": 30_000.0}, between=1)
        assert self.rates(fleet, "b")["remote"] == pytest.approx(30_000, rel=0.1)
        assert self.rates(fleet, "b")["host"] == PRIOR_TOKENS_PER_S["host"]


class TestTrimming:
    def test_fewer_cached_tokens_than_the_store_was_believed_to_hold_trim_it(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(TOKENS), b=None, remote_tokens=1_000_000)
        serve(fleet, "a", prompt(1), 0.0)
        serve(fleet, "a", prompt(50), 10.0)
        sent = serve(fleet, "b", prompt(1), 20.0, cached_tokens=4000)
        assert sent.restorable_tokens == TOKENS
        # The answer put back what it computed; the prompt that went before it is as old as what was found to be gone.
        assert fleet.index.look_up(prompt(50)).behind == {"host": {"a": TOKENS}, "remote": {"a": TOKENS, "b": TOKENS}}
        assert fleet.index.tier("b", "remote") is fleet.index.tier("a", "remote")

    def test_a_store_that_is_smaller_than_configured_is_found_out(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(TOKENS), remote_tokens=100_000)
        for turn in range(40):
            for topic in range(8):
                asked, at_s = prompt(100 * topic), 1000.0 * turn + 10 * topic
                held = candidates(fleet, asked, at_s)["a"]
                serve(fleet, "a", asked, at_s, cached_tokens=held.matched_tokens + held.behind[0].tokens)
        host_tier, remote_tier = fleet.index.tiers("a")
        assert host_tier.capacity_tokens == TOKENS
        assert (remote_tier.capacity_tokens or 0) < 64_000

    def test_more_than_believed_says_that_the_store_is_larger(self) -> None:
        fleet = fleet_with_tiers(a=HostTier(TOKENS), remote_tokens=100_000)
        serve(fleet, "a", prompt(50), 0.0)
        host_tier, remote_tier = fleet.index.tiers("a")
        host_tier._capacity.too_high(5000)
        remote_tier._capacity.too_high(50_000)
        before = host_tier.capacity_tokens, remote_tier.capacity_tokens
        serve(fleet, "a", prompt(1), 10.0, cached_tokens=TOKENS)
        assert host_tier.capacity_tokens == before[0]
        assert (remote_tier.capacity_tokens or 0) > (before[1] or 0)

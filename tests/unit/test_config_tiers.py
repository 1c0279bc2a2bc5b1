"""`host_cache_tokens`, `kv_domain`, `remote_cache_tokens` -> what is behind each replica, and what of it changes."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.clock import ManualClock
from extproc.config.build import build
from extproc.config.errors import ConfigError
from extproc.config.settings import Settings
from extproc.config.topology import HostTier
from extproc.fleet.events import HostTierReported, RemoteTierReported, ReplicaDown, ReplicaUp
from extproc.fleet.feeds.config import changes
from extproc.server import Configuration, Processor
from tests.unit.say import chain, fleet_of, routed, served


def replicas(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"url": f"http://{name}:8000", "name": name, **more} for name in names]


def settings(*providers: dict[str, Any]) -> Settings:
    named = [{"name": f"p{number}", **provider} for number, provider in enumerate(providers)]
    deployments = [{"provider": provider["name"]} for provider in named]
    return Settings.model_validate({"providers": named, "models": [{"name": "m", "deployments": deployments}]})


def tiers(*providers: dict[str, Any]) -> dict[str, HostTier | None]:
    return {name: replica.host_tier for name, replica in build(settings(*providers)).replicas.items()}


def stores(*providers: dict[str, Any]) -> dict[str, int | None]:
    return {name: replica.remote_cache_tokens for name, replica in build(settings(*providers)).replicas.items()}


def complaint(*providers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(settings(*providers))
    return str(caught.value)


class TestWhatIsBehindAReplica:
    def test_nothing_unless_it_is_said(self) -> None:
        assert tiers({"replicas": replicas("a", "b")}) == {"a": None, "b": None}

    def test_a_tier_of_its_own_unless_a_domain_is_named(self) -> None:
        found = tiers({"replicas": replicas("a", "b"), "host_cache_tokens": 1000})
        assert found == {"a": HostTier(1000), "b": HostTier(1000)}

    def test_a_domain_of_the_provider_but_for_replicas_that_name_another(self) -> None:
        given = [*replicas("a", "b"), *replicas("c", kv_domain="node-2")]
        found = tiers({"replicas": given, "host_cache_tokens": 1000, "kv_domain": "node-1"})
        assert found == {"a": HostTier(1000, "node-1"), "b": HostTier(1000, "node-1"), "c": HostTier(1000, "node-2")}

    def test_a_domain_spans_providers_and_its_size_is_given_once(self) -> None:
        found = tiers(
            {"replicas": replicas("a"), "kv_domain": "node-1", "host_cache_tokens": 1000},
            {"replicas": replicas("b", kv_domain="node-1")},
        )
        assert found == {"a": HostTier(1000, "node-1"), "b": HostTier(1000, "node-1")}

    def test_a_replica_that_is_listed_twice_is_described_once(self) -> None:
        found = tiers({"replicas": replicas("a"), "host_cache_tokens": 1000}, {"replicas": replicas("a")})
        assert found == {"a": HostTier(1000)}


class TestTheRemoteTier:
    def test_is_reached_by_the_replicas_of_providers_that_give_its_size(self) -> None:
        found = stores({"replicas": replicas("a", "b"), "remote_cache_tokens": 5000}, {"replicas": replicas("c")})
        assert found == {"a": 5000, "b": 5000, "c": None}

    def test_is_one_for_all_of_them_with_host_tiers_or_without(self) -> None:
        given = {"remote_cache_tokens": 5000}
        providers = (
            {"replicas": replicas("a"), "host_cache_tokens": 1000, **given},
            {"replicas": replicas("b"), **given},
        )
        assert stores(*providers) == {"a": 5000, "b": 5000}
        assert tiers(*providers) == {"a": HostTier(1000), "b": None}

    def test_is_reached_by_each_data_parallel_rank(self) -> None:
        found = stores({"replicas": replicas("a"), "data_parallel_size": 2, "remote_cache_tokens": 5000})
        assert found == {"a~0": 5000, "a~1": 5000}

    def test_has_one_size(self) -> None:
        said = complaint(
            {"replicas": replicas("a"), "remote_cache_tokens": 5000},
            {"replicas": replicas("b")},
            {"replicas": replicas("c"), "remote_cache_tokens": 6000},
        )
        assert said == (
            "providers[2].remote_cache_tokens: the remote tier is one for all providers: "
            "it has 5000 tokens elsewhere, 6000 here"
        )


class TestContradictions:
    def test_a_domain_of_two_sizes(self) -> None:
        said = complaint(
            {"replicas": replicas("a", "b"), "kv_domain": "node-1", "host_cache_tokens": 1000},
            {"replicas": replicas("c", "d"), "kv_domain": "node-1", "host_cache_tokens": 2000},
        )
        assert said == (
            'providers[1].host_cache_tokens: the domain "node-1" is one tier: it has 1000 tokens elsewhere, 2000 here'
        )

    def test_a_domain_of_no_size(self) -> None:
        said = complaint({"replicas": replicas("a", "b"), "kv_domain": "node-1"})
        assert said == 'providers[0].kv_domain: the domain "node-1" has no size: give host_cache_tokens with it'

    def test_a_replica_in_two_domains(self) -> None:
        said = complaint(
            {"replicas": replicas("a"), "kv_domain": "node-1", "host_cache_tokens": 1000},
            {"replicas": replicas("a"), "host_cache_tokens": 1000},
        )
        assert said == (
            'providers[1]: a:8000 has a host tier of the domain "node-1" with 1000 tokens elsewhere, '
            "a host tier of its own with 1000 tokens here"
        )

    @pytest.mark.parametrize(
        "wrong",
        [
            {"host_cache_tokens": 0},
            {"host_cache_tokens": -1},
            {"kv_domain": "two words"},
            {"remote_cache_tokens": 0},
        ],
    )
    def test_sizes_that_are_none_and_names_that_are_none(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            settings({"replicas": replicas("a"), **wrong})


class TestChanges:
    def test_only_what_changes_is_told(self) -> None:
        fleet = fleet_of("a", "b", "c", "gone")
        for name in ("a", "b", "gone"):
            fleet.apply(HostTierReported(0.0, name, HostTier(1000)))
        given = [*replicas("a"), *replicas("c"), *replicas("new")]
        after = build(settings({"replicas": given, "host_cache_tokens": 1000}, {"replicas": replicas("b")})).replicas
        assert changes(fleet.replicas, after, 1.0) == [
            ReplicaUp(1.0, "new", proven=False),
            HostTierReported(1.0, "c", HostTier(1000)),
            HostTierReported(1.0, "new", HostTier(1000)),
            HostTierReported(1.0, "b", None),
            ReplicaDown(1.0, "gone"),
        ]

    def test_so_it_is_of_the_remote_tier(self) -> None:
        fleet = fleet_of("a", "b", "c", "gone")
        for name in ("a", "b", "gone"):
            fleet.apply(RemoteTierReported(0.0, name, 5000))
        given = {"replicas": replicas("a", "c", "new"), "remote_cache_tokens": 5000}
        after = build(settings(given, {"replicas": replicas("b")})).replicas
        assert changes(fleet.replicas, after, 1.0) == [
            ReplicaUp(1.0, "new", proven=False),
            RemoteTierReported(1.0, "c", 5000),
            RemoteTierReported(1.0, "new", 5000),
            RemoteTierReported(1.0, "b", None),
            ReplicaDown(1.0, "gone"),
        ]

    def test_a_shared_tier_outlives_the_replica_that_is_replaced(self) -> None:
        before = build(
            settings({"replicas": replicas("old"), "host_cache_tokens": 1000, "kv_domain": "node-1"})
        ).replicas
        after = build(
            settings({"replicas": replicas("new"), "host_cache_tokens": 1000, "kv_domain": "node-1"})
        ).replicas
        fleet = fleet_of()
        for event in changes(fleet.replicas, before, 0.0):
            fleet.apply(event)
        fleet.index.store("old", chain(1, 2))
        for event in changes(fleet.replicas, after, 1.0):
            fleet.apply(event)
        assert fleet.index.look_up(chain(1, 2)).behind == {"host": {"new": 20}}

    async def test_a_file_that_changes_adds_resizes_and_removes_tiers(self) -> None:
        def configuration(**provider: Any) -> Configuration:
            found = settings({"replicas": replicas("127.0.0.1", "127.0.0.2"), **provider})
            return Configuration(found, build(found))

        gateway = Processor(configuration(), clock=ManualClock())
        await gateway.reconfigure(configuration())
        fleet, prompt = gateway.fleet, chain(1, 2, 3)

        def behind() -> dict[str, int]:
            return dict(fleet.index.look_up(prompt).behind.get("host", {}))

        await gateway.reconfigure(configuration(host_cache_tokens=1000))
        fleet.apply(routed("t", "127.0.0.1", prompt))
        fleet.apply(served("t", "127.0.0.1"))
        assert behind() == {"127.0.0.1": 30}
        await gateway.reconfigure(configuration(host_cache_tokens=25))
        assert behind() == {"127.0.0.1": 20}
        await gateway.reconfigure(configuration(host_cache_tokens=25, kv_domain="node-1"))
        assert behind() == {}  # another tier, of which nothing is known
        await gateway.reconfigure(configuration())
        assert fleet.index.tier("127.0.0.1") is None

    async def test_a_file_that_changes_adds_resizes_and_removes_the_remote_tier(self) -> None:
        def configuration(**provider: Any) -> Configuration:
            found = settings({"replicas": replicas("127.0.0.1", "127.0.0.2"), **provider})
            return Configuration(found, build(found))

        gateway = Processor(configuration(), clock=ManualClock())
        await gateway.reconfigure(configuration(host_cache_tokens=1000))
        fleet, prompt = gateway.fleet, chain(1, 2, 3)
        await gateway.reconfigure(configuration(host_cache_tokens=1000, remote_cache_tokens=5000))
        fleet.apply(routed("t", "127.0.0.1", prompt))
        fleet.apply(served("t", "127.0.0.1"))
        hosts = {"127.0.0.1": 30}
        assert fleet.index.look_up(prompt).behind == {"host": hosts, "remote": {"127.0.0.1": 30, "127.0.0.2": 30}}
        await gateway.reconfigure(configuration(host_cache_tokens=1000, remote_cache_tokens=25))
        assert fleet.index.look_up(prompt).behind == {"host": hosts, "remote": {"127.0.0.1": 20, "127.0.0.2": 20}}
        await gateway.reconfigure(configuration(host_cache_tokens=1000))
        assert fleet.index.look_up(prompt).behind == {"host": hosts}
        await gateway.reconfigure(configuration(remote_cache_tokens=5000))
        assert fleet.index.look_up(prompt).behind == {}  # another store, of which nothing is known

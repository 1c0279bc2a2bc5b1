"""`engine` and `data_parallel_size` -> what there is to route to, and how it is spoken to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from extproc.config.build import build
from extproc.config.engines import ENGINES
from extproc.config.errors import ConfigError
from extproc.config.settings import Settings
from extproc.config.topology import Topology


def settings(*providers: dict[str, Any], **model: Any) -> Settings:
    named = [{"name": f"p{number}", **provider} for number, provider in enumerate(providers)]
    deployments = [{"provider": provider["name"]} for provider in named]
    return Settings.model_validate({"providers": named, "models": [{"name": "m", "deployments": deployments, **model}]})


def topology(*providers: dict[str, Any], **model: Any) -> Topology:
    return build(settings(*providers, **model))


def replicas(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"url": f"http://{name}:8000", "name": name, **more} for name in names]


class TestRanks:
    def test_each_rank_of_a_replica_is_routed_to_at_the_same_address(self) -> None:
        (pool,) = topology({"replicas": replicas("a", "b"), "data_parallel_size": 2}).pools.values()
        assert [(each.name, each.process, each.rank, each.host) for each in pool.replicas] == [
            ("a~0", "a", 0, "a"),
            ("a~1", "a", 1, "a"),
            ("b~0", "b", 0, "b"),
            ("b~1", "b", 1, "b"),
        ]

    def test_with_one_rank_a_replica_goes_by_its_own_name(self) -> None:
        for size in ({}, {"data_parallel_size": 1}):
            found = topology({"replicas": replicas("a"), **size})
            assert (found.replicas["a"].rank, found.replicas["a"].process, found.ranks) == (None, "a", {})

    def test_no_replica_can_be_named_like_a_rank(self) -> None:
        with pytest.raises(ValidationError, match="name"):
            settings({"replicas": [{"url": "http://a", "name": "a~0"}]})

    def test_ranks_are_known_by_their_process_in_order(self) -> None:
        found = topology({"replicas": replicas("a"), "data_parallel_size": 12})
        assert found.ranks == {"a": tuple(f"a~{rank}" for rank in range(12))}

    def test_a_process_has_one_metrics_page_and_each_rank_its_process_health_page(self) -> None:
        found = topology({"replicas": replicas("a"), "data_parallel_size": 2})
        assert found.metrics_urls == {"a": "http://a:8000/metrics"}
        assert found.health_urls == {"a~0": "http://a:8000/health", "a~1": "http://a:8000/health"}

    def test_replicas_that_cannot_take_each_others_requests_form_two_pools(self) -> None:
        """A retry sends the same rank: a replica of fewer ranks would refuse it."""
        listed = [*replicas("a"), *replicas("b", "c", data_parallel_size=2)]
        found = topology({"replicas": listed})
        assert sorted(sorted(each.name for each in pool.replicas) for pool in found.pools.values()) == [
            ["a"],
            ["b~0", "b~1", "c~0", "c~1"],
        ]

    def test_one_address_has_one_number_of_ranks(self) -> None:
        with pytest.raises(ConfigError, match="a:8000 has 2 data-parallel ranks elsewhere, 4 here"):
            topology(
                {"replicas": replicas("a"), "data_parallel_size": 2},
                {"replicas": replicas("a"), "data_parallel_size": 4},
            )

    def test_each_rank_publishes_on_ports_counted_on_from_the_first(self) -> None:
        kv_events = {"port": 5557, "replay_port": 5567}
        found = topology({"replicas": replicas("a"), "data_parallel_size": 2, "kv_events": kv_events}).kv_feeds
        assert {name: (feed.url, feed.replay_url) for name, feed in found.items()} == {
            "a~0": ("tcp://a:5557", "tcp://a:5567"),
            "a~1": ("tcp://a:5558", "tcp://a:5568"),
        }

    @pytest.mark.parametrize(
        ("provider", "complaint"),
        [
            ({"replicas": replicas("a"), "kv_events": {}}, "set them at least 2 apart"),
            ({"replicas": replicas("a", kv_events_url="ipc:///run/a")}, "has none to count on from"),
            ({"replicas": replicas("a", kv_events_url="tcp://a:65535")}, "end beyond 65535"),
            (
                {
                    "replicas": [
                        *replicas("a", kv_events_url="tcp://n:6000"),
                        *replicas("b", kv_events_url="tcp://n:6001"),
                    ]
                },
                "would both publish at tcp://n:6001",
            ),
        ],
    )
    def test_ranks_that_would_publish_at_one_place_are_refused(self, provider: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint):
            topology({**provider, "data_parallel_size": 2})


class TestEngines:
    def test_what_is_compatible_is_taken_for_vllm_and_a_hosted_api_for_what_it_is(self) -> None:
        offered = {
            kind: settings({"type": kind, "base_url": "http://a"}).providers[0].offers
            for kind in ("openai_compatible", "mock", "openai", "anthropic")
        }
        assert offered == {
            "openai_compatible": ENGINES["vllm"],
            "mock": ENGINES["vllm"],
            "openai": ENGINES["openai"],
            "anthropic": ENGINES["openai"],
        }

    def test_a_plain_server_has_no_page_to_ask_unless_it_is_named(self) -> None:
        (pool,) = topology({"base_url": "http://a", "engine": "openai"}).pools.values()
        assert (pool.health_path, pool.metrics_url(pool.replicas[0])) == ("", None)
        named = {"health_path": "/up", "metrics_path": "/load"}
        (pool,) = topology({"base_url": "http://a", "engine": "openai", **named}).pools.values()
        assert (pool.health_path, pool.metrics_url(pool.replicas[0])) == ("/up", "http://a:80/load")

    def test_engines_of_two_kinds_are_two_pools(self) -> None:
        found = topology({"replicas": replicas("a")}, {"replicas": replicas("b"), "engine": "sglang"})
        assert {pool.engine for pool in found.pools.values()} == {ENGINES["vllm"], ENGINES["sglang"]}

    @pytest.mark.parametrize(
        ("provider", "complaint"),
        [
            ({"engine": "openai", "kv_events": {}}, "engine openai publishes no KV events"),
            ({"engine": "tgi", "kv_events": {}}, "engine tgi publishes no KV events"),
            ({"type": "openai", "kv_events": {}}, "engine of a hosted API publishes no KV events"),
            ({"engine": "openai", "data_parallel_size": 2}, "engine openai has no data-parallel ranks"),
            ({"engine": "llama", "data_parallel_size": 2}, "engine"),
            ({"engine": "sglang", "type": "mock"}, "type mock is a simulated vLLM"),
        ],
    )
    def test_what_an_engine_does_not_offer_is_refused(self, provider: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            settings({"base_url": "http://a", **provider})

    def test_what_only_a_replica_says_is_refused_too(self) -> None:
        for more in ({"kv_events_url": "tcp://a:5557"}, {"data_parallel_size": 2}):
            with pytest.raises(ValidationError, match="engine openai"):
                settings({"engine": "openai", "replicas": replicas("a", **more)})


class TestAdapters:
    def test_an_adapter_is_known_by_the_engines_name_of_it(self) -> None:
        deployments = [{"provider": "p0", "model": "sql-lora"}]
        assert topology({"base_url": "http://a"}, lora=True, deployments=deployments).models["m"].lora == "sql-lora"
        assert topology({"base_url": "http://a"}, lora=True).models["m"].lora == "m"
        assert topology({"base_url": "http://a"}).models["m"].lora == ""

    def test_an_adapter_has_one_name(self) -> None:
        deployments = [{"provider": "p0", "model": "x"}, {"provider": "p0", "model": "y"}]
        with pytest.raises(ValidationError, match="an adapter has one name in the engines, not x and y"):
            topology({"base_url": "http://a"}, lora=True, deployments=deployments)

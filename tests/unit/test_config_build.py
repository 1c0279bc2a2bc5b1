"""Settings -> Topology."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.build import build
from extproc.config.errors import ConfigError
from extproc.config.settings import Settings
from extproc.config.topology import FALLBACK_CLUSTER, Pool, Topology


def topology(providers: list[dict[str, Any]], models: dict[str, list[Any]]) -> Topology:
    """Deployments may be given by their provider's name alone."""
    return build(
        Settings.model_validate(
            {
                "providers": providers,
                "models": [
                    {"name": name, "deployments": [d if isinstance(d, dict) else {"provider": d} for d in deployments]}
                    for name, deployments in models.items()
                ],
            }
        )
    )


def one_pool(**provider: Any) -> Pool:
    (pool,) = topology([{"name": "p", **provider}], {"m": ["p"]}).pools.values()
    return pool


def at(pool: Pool) -> list[tuple[str, str, int]]:
    return [(replica.name, replica.host, replica.port) for replica in pool.replicas]


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "host", "port", "tls", "path_prefix"),
        [
            ("http://10.0.0.1", "10.0.0.1", 80, False, ""),
            ("http://10.0.0.1:8000/", "10.0.0.1", 8000, False, ""),
            ("http://10.0.0.1:8000/v1", "10.0.0.1", 8000, False, ""),
            ("https://h.example/v1/", "h.example", 443, True, ""),
            ("https://h.example/openai/v1", "h.example", 443, True, "/openai"),
            ("https://h.example/a/b/", "h.example", 443, True, "/a/b"),
            ("https://h.example/v1/v1", "h.example", 443, True, "/v1"),
            ("http://[2001:db8::1]:8000", "2001:db8::1", 8000, False, ""),
        ],
    )
    def test_a_url_becomes_an_address_and_a_prefix(
        self, url: str, host: str, port: int, tls: bool, path_prefix: str
    ) -> None:
        pool = one_pool(base_url=url)
        assert at(pool) == [("p", host, port)]
        assert (pool.tls, pool.path_prefix) == (tls, path_prefix)

    def test_mock_providers_get_ports_in_order(self) -> None:
        found = topology(
            [
                {"name": "a", "type": "mock"},
                {"name": "b", "type": "mock", "base_url": "http://127.0.0.1:9000"},
                {"name": "c", "type": "mock"},
            ],
            {"m": ["a", "b", "c"]},
        )
        assert [replica.port for replica in found.pools["m"].replicas] == [8101, 9000, 8102]

    @pytest.mark.parametrize(("kind", "host"), [("openai", "api.openai.com"), ("anthropic", "api.anthropic.com")])
    def test_hosted_apis_have_an_address_and_no_health_page(self, kind: str, host: str) -> None:
        pool = one_pool(type=kind)
        assert (at(pool), pool.tls, pool.path_prefix) == ([("p", host, 443)], True, "")
        assert pool.health_path == ""
        assert one_pool(type=kind, health_path="/health").health_path == "/health"
        assert one_pool(type="mock").health_path == "/health"

    def test_an_engine_of_ones_own_tells_its_load_and_a_hosted_api_does_not(self) -> None:
        provider = {"name": "p", "replicas": ["http://10.0.0.1:8000/v1", "https://h.example/openai"]}
        urls = {"10.0.0.1:8000": "http://10.0.0.1:8000/metrics", "h.example:443": "https://h.example:443/metrics"}
        assert topology([provider], {"m": ["p"]}).metrics_urls == urls
        assert topology([{"name": "p", "type": "mock"}], {"m": ["p"]}).metrics_urls == {
            "p": "http://127.0.0.1:8101/metrics"
        }
        for kind in ("openai", "anthropic"):
            assert topology([{"name": "p", "type": kind}], {"m": ["p"]}).metrics_urls == {"p": None}

    @pytest.mark.parametrize("path", ["", None])
    def test_the_page_with_an_engines_load_can_be_elsewhere_or_nowhere(self, path: str | None) -> None:
        for provider in ({"base_url": "http://a"}, {"type": "mock"}):
            found = topology([{"name": "p", "metrics_path": path, **provider}], {"m": ["p"]})
            assert found.metrics_urls == {"p": None}
        found = topology([{"name": "p", "type": "openai", "metrics_path": "/load"}], {"m": ["p"]})
        assert found.metrics_urls == {"p": "https://api.openai.com:443/load"}

    @pytest.mark.parametrize("url", ["http://u:p@h", "http://h/?q=1", "http://h/#x"])
    def test_what_an_address_cannot_hold_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"providers\[0\]: a URL must not hold"):
            one_pool(base_url=url)


class TestNames:
    def test_a_listed_replica_is_named_by_its_address_unless_it_has_a_name(self) -> None:
        pool = one_pool(replicas=["http://a:1", {"url": "http://[::1]:2"}, {"url": "http://c:3", "name": "gpu-3"}])
        assert at(pool) == [("a:1", "a", 1), ("[::1]:2", "::1", 2), ("gpu-3", "c", 3)]

    def test_an_address_listed_twice_is_one_replica(self) -> None:
        pool = one_pool(replicas=["http://a:1/v1", {"url": "http://A:1", "name": "gpu"}, "http://a:1/"])
        assert at(pool) == [("gpu", "a", 1)]

    def test_providers_of_one_address_share_the_replica_of_the_first(self) -> None:
        found = topology(
            [
                {"name": "team-a", "type": "openai", "api_key": "a"},
                {"name": "team-b", "type": "openai", "api_key": "b"},
            ],
            {"m": ["team-a", "team-b"]},
        )
        assert list(found.replicas) == ["team-a"]
        assert {pool.name: pool.api_key for pool in found.pools.values()} == {"team-a": "a", "team-b": "b"}

    @pytest.mark.parametrize(
        ("replicas", "says"),
        [
            ([{"url": "http://a", "name": "x"}, {"url": "http://a", "name": "y"}], 'a:80 is named "x" and "y"'),
            ([{"url": "http://a", "name": "x"}, {"url": "http://b", "name": "x"}], 'a:80 and b:80 are both named "x"'),
            ([{"url": "http://a", "name": "b:80"}, "http://b"], 'a:80 and b:80 are both named "b:80"'),
            (
                [{"url": "http://a", "cluster": "x"}, {"url": "http://b", "cluster": "x"}],
                'a:80 and b:80 are both in cluster "x"',
            ),
        ],
    )
    def test_names_that_contradict_each_other_are_refused(self, replicas: list[Any], says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            one_pool(replicas=replicas)
        assert says in str(caught.value)

    def test_a_replica_keeps_its_own_cluster(self) -> None:
        pool = one_pool(replicas=[{"url": "http://a", "cluster": "vllm-0"}])
        assert pool.replicas[0].cluster == "vllm-0"

    def test_pool_names_suit_envoy_and_are_unique(self) -> None:
        found = topology(
            [
                {"name": "a", "replicas": ["http://a1", "https://a2", {"url": "http://a3", "cluster": "org-m"}]},
                {"name": "b", "base_url": "http://b"},
                {"name": FALLBACK_CLUSTER, "base_url": "http://c"},
            ],
            {"org/m": ["a", "b"], "d": [FALLBACK_CLUSTER], "\u00e9": ["a"]},
        )
        assert list(found.pools) == ["org-m-2", "a", f"pool-{FALLBACK_CLUSTER}", "a-2"]


class TestPools:
    TWO = ({"name": "a", "base_url": "http://a"}, {"name": "b", "base_url": "http://b"})

    def test_kin_deployments_are_one_pool_named_for_the_model(self) -> None:
        found = topology([*self.TWO], {"m": ["a", "b"]})
        assert at(found.pools["m"]) == [("a", "a", 80), ("b", "b", 80)]
        (target,) = found.models["m"].targets
        assert target.pool is found.pools["m"]
        assert target.upstream_model == "m"

    @pytest.mark.parametrize(
        ("provider", "deployment"),
        [
            ({}, {"model": "other"}),
            ({}, {"cost_per_1k_input": 1}),
            ({}, {"cost_per_1k_output": 1}),
            ({"api_key": "k"}, {}),
            ({"health_path": "/ping"}, {}),
            ({"base_url": "https://b"}, {}),
            ({"base_url": "http://b/x/v1"}, {}),
        ],
    )
    def test_deployments_that_need_another_request_are_other_targets(
        self, provider: dict[str, Any], deployment: dict[str, Any]
    ) -> None:
        first, second = self.TWO
        found = topology([first, {**second, **provider}], {"m": ["a", {"provider": "b", **deployment}]})
        assert [target.pool.name for target in found.models["m"].targets] == ["a", "b"]

    def test_weights_of_replica_and_deployment_multiply(self) -> None:
        providers = [{"name": "a", "replicas": [{"url": "http://a", "weight": 2}, "http://b"]}, self.TWO[1]]
        providers[1] = {"name": "b", "base_url": "http://b"}
        found = topology(providers, {"m": [{"provider": "a", "weight": 3}, {"provider": "b", "weight": 5}]})
        assert {replica.host: replica.weight for replica in found.pools["m"].replicas} == {"a": 6, "b": 3 + 5}

    def test_models_on_the_same_replicas_share_a_pool(self) -> None:
        found = topology([*self.TWO], {"m": ["a"], "lora": [{"provider": "a", "model": "m:lora"}], "n": ["a", "b"]})
        assert list(found.pools) == ["a", "n"]
        assert found.models["m"].targets[0].pool is found.models["lora"].targets[0].pool

    def test_each_replica_of_a_pool_is_known_by_its_provider(self) -> None:
        providers = [
            {"name": "a", "replicas": ["http://a", "http://b"]},
            {"name": "b", "replicas": ["http://b", "http://c"]},
        ]
        found = topology(providers, {"m": ["a", "b"], "n": ["b"]})
        assert found.models["m"].targets[0].providers == {"a:80": "a", "b:80": "a", "c:80": "b"}
        assert found.models["n"].targets[0].providers == {"b:80": "b", "c:80": "b"}

    def test_a_provider_without_a_model_gets_no_pool(self) -> None:
        assert list(topology([*self.TWO], {"m": ["b"]}).pools) == ["b"]

    def test_the_default_pool_is_the_first_models_first(self) -> None:
        assert topology([*self.TWO], {"z": ["b"], "a": ["a"]}).default_pool == "b"

    def test_no_models_is_a_fault(self) -> None:
        with pytest.raises(ConfigError, match="no models are configured"):
            build(Settings())

    def test_a_pool_does_not_show_its_key(self) -> None:
        assert "secret" not in repr(one_pool(base_url="http://h", api_key="sk-secret"))


PROVIDERS = st.lists(
    st.fixed_dictionaries(
        {"replicas": st.lists(st.sampled_from(["http://a", "https://a", "http://b:1/x", "http://c/v1"]), min_size=1)},
        optional={"api_key": st.sampled_from(["x", "y"])},
    ),
    min_size=1,
    max_size=4,
)


@given(PROVIDERS, st.data())
def test_every_deployment_reaches_each_of_its_replicas_through_pools_of_one_kind(
    providers: list[dict[str, Any]], data: st.DataObject
) -> None:
    named = [{"name": f"p{index}", **provider} for index, provider in enumerate(providers)]
    some = st.lists(st.sampled_from([provider["name"] for provider in named]), min_size=1, max_size=3)
    models = {name: data.draw(some) for name in ("m", "n")}
    found = topology(named, models)
    assert found.default_pool in found.pools
    for model in found.models.values():
        urls = [url for provider in named if provider["name"] in models[model.name] for url in provider["replicas"]]
        wanted = {url.split("//")[1].split("/")[0].partition(":")[0] for url in urls}
        assert {replica.host for target in model.targets for replica in target.pool.replicas} == wanted
        assert all(found.pools[target.pool.name] is target.pool for target in model.targets)
    for pool in found.pools.values():
        assert len({replica.name for replica in pool.replicas}) == len(pool.replicas)

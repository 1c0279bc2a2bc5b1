"""Topology -> Envoy resources."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.config.topology import FALLBACK_CLUSTER, Pool, Replica, Topology
from extproc.control import resources
from extproc.control.resources import Upstream

A = Replica("a", "10.0.0.1", 8000, weight=1.5)
B = Replica("b", "vllm-b.svc", 8001, cluster="only-b")
ADDRESSES = {"a": ("10.0.0.1", 8000), "b": ("10.0.0.2", 8001)}


def fleet(*pools: Pool) -> Topology:
    return Topology({}, {pool.name: pool for pool in pools}, pools[0].name if pools else None)


def cluster(topology: Topology, name: str, upstream: Upstream | None = None) -> dict[str, Any]:
    return next(each for each in resources.clusters(topology, upstream or Upstream()) if each["name"] == name)


def endpoints(topology: Topology, addresses: dict[str, tuple[str, int]] = ADDRESSES) -> dict[str, list[dict[str, Any]]]:
    return {
        each["cluster_name"]: each["endpoints"][0]["lb_endpoints"]
        for each in resources.load_assignments(topology, addresses)
    }


def test_each_pool_each_own_cluster_and_the_default_are_clusters() -> None:
    topology = fleet(Pool("p", (A, B)), Pool("q", (A,)))
    names = [each["name"] for each in resources.clusters(topology, Upstream())]
    assert names == ["p", "q", "only-b", FALLBACK_CLUSTER]


def test_every_cluster_with_replicas_has_endpoints_and_the_default_borrows_them() -> None:
    topology = fleet(Pool("p", (A, B)), Pool("q", (A,)))
    assert endpoints(topology).keys() == {"p", "q", "only-b"}
    assert cluster(topology, FALLBACK_CLUSTER)["cluster_type"]["typed_config"]["clusters"] == ["p"]
    assert "health_checks" not in cluster(topology, FALLBACK_CLUSTER)


def test_a_replicas_own_cluster_holds_it_alone_and_it_stays_in_its_pool() -> None:
    found = endpoints(fleet(Pool("p", (A, B))))
    assert [each["endpoint"]["hostname"] for each in found["only-b"]] == ["vllm-b.svc"]
    assert len(found["p"]) == 2


def test_a_cluster_name_is_not_used_twice() -> None:
    for taken in ("p", FALLBACK_CLUSTER):
        with pytest.raises(ValueError, match=taken):
            resources.clusters(fleet(Pool("p", (Replica("x", "h", 1, cluster=taken),))), Upstream())


def test_nothing_configured_is_no_cluster() -> None:
    assert resources.clusters(fleet(), Upstream()) == []
    assert resources.load_assignments(fleet(), {}) == []


def test_an_endpoint_carries_its_address_its_name_and_its_weight() -> None:
    (a, b) = endpoints(fleet(Pool("p", (A, B))))["p"]
    assert a["endpoint"]["address"]["socket_address"] == {"address": "10.0.0.1", "port_value": 8000}
    assert a["metadata"]["filter_metadata"]["kvgate"] == {"replica": "a"}
    assert b["endpoint"]["address"]["socket_address"]["address"] == "10.0.0.2"
    assert b["endpoint"]["hostname"] == "vllm-b.svc", "what Host and SNI are made of"
    assert a["load_balancing_weight"] / b["load_balancing_weight"] == 1.5


def test_a_tiny_weight_is_still_a_weight() -> None:
    endpoint = resources.lb_endpoint(Replica("x", "h", 1, weight=0.0001), "10.0.0.1", 1)
    assert endpoint["load_balancing_weight"] == 1


def test_a_replica_that_was_not_resolved_is_left_out() -> None:
    assert len(endpoints(fleet(Pool("p", (A, B))), {"a": ("10.0.0.1", 8000)})["p"]) == 1
    assert endpoints(fleet(Pool("p", (A, B))), {})["p"] == []


def test_the_order_of_the_processor_comes_before_least_request() -> None:
    (policy,) = cluster(fleet(Pool("p", (A,))), "p")["load_balancing_policy"]["policies"]
    config = policy["typed_extension_config"]["typed_config"]
    path = [{"key": "x-gateway-destination-endpoint"}]
    assert config["override_host_sources"][0]["metadata"] == {"key": "envoy.lb", "path": path}
    fallback = config["fallback_policy"]["policies"][0]["typed_extension_config"]["name"]
    assert fallback == "envoy.load_balancing_policies.least_request"


def test_the_pool_says_where_its_health_is_asked_for() -> None:
    (check,) = cluster(fleet(Pool("p", (A,), health_path="/ping")), "p")["health_checks"]
    assert check["http_health_check"]["path"] == "/ping"


def test_replicas_are_set_aside_as_the_settings_say_and_never_all_of_them() -> None:
    upstream = Upstream(failure_threshold=5, cooldown_s=7.5)
    ejection = cluster(fleet(Pool("p", (A,))), "p", upstream)["outlier_detection"]
    assert ejection["consecutive_gateway_failure"] == 5
    assert ejection["base_ejection_time"] == "7.5s"
    assert ejection["max_ejection_percent"] < 100
    assert "always_eject_one_host" not in ejection


def test_a_tls_pool_is_verified_by_name_against_the_ca() -> None:
    assert "transport_socket" not in cluster(fleet(Pool("p", (A,))), "p")
    socket = cluster(fleet(Pool("p", (A,), tls=True)), "p", Upstream(ca_file="/ca.pem"))["transport_socket"]
    context = socket["typed_config"]
    assert context["auto_host_sni"] is context["auto_sni_san_validation"] is True
    assert context["common_tls_context"]["validation_context"]["trusted_ca"] == {"filename": "/ca.pem"}


@pytest.mark.parametrize(("value", "text"), [(1, "1s"), (0.25, "0.25s"), (1e6, "1000000s"), (300.0, "300s")])
def test_a_duration_in_json_form(value: float, text: str) -> None:
    assert resources.seconds(value) == text

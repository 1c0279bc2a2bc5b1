"""envoy/kv-store.yaml, filled in, and when Envoy is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from extproc.config.kv_store import KvStore
from extproc.config.topology import Topology
from extproc.control import kv_store
from extproc.control.ads import Conversation
from extproc.control.snapshot import CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, SECRET_TYPE, Snapshot
from extproc.control.template import fill, shipped

EMPTY = Topology({}, {}, None)
TLS = {"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key", "client_ca": "/etc/ca/ca.crt"}


def store(*servers: str, **settings: Any) -> KvStore:
    return KvStore.model_validate({"servers": servers or ("a:1",), **settings})


def found(of: KvStore, **moved: tuple[str, int]) -> kv_store.KvStoreResources:
    return kv_store.served(of, {each.name: moved.get(each.host, ("10.0.0.1", each.port)) for each in of.peers})


def snapshot(of: KvStore | None) -> Snapshot:
    return Snapshot.of(EMPTY, {}, store=found(of) if of else kv_store.NOTHING)


def filters(of: KvStore) -> list[str]:
    (listener,) = found(of).listeners
    return [each["name"].rpartition(".")[2] for each in listener["filter_chains"][0]["filters"]]


def test_the_template_is_complete_by_itself() -> None:
    assert "${" not in yaml.safe_dump(fill(shipped("kv-store.yaml"), {}))


def test_one_server_is_passed_bytes_and_several_are_sent_commands() -> None:
    assert filters(store("a:1")) == ["connection_limit", "tcp_proxy"]
    assert filters(store("a:1", "b:1")) == ["connection_limit", "redis_proxy"]


def test_a_server_keeps_its_keys_when_its_address_changes() -> None:
    def key(resources: kv_store.KvStoreResources) -> Any:
        (endpoint,) = resources.load_assignments[0]["endpoints"][0]["lb_endpoints"]
        return endpoint["metadata"], endpoint["endpoint"]["address"]["socket_address"]["address"]

    here, there = key(found(store("a:1"))), key(found(store("a:1"), a=("10.0.0.2", 1)))
    assert here[0] == there[0]
    assert here[1] != there[1]


def test_a_server_whose_name_does_not_resolve_is_left_out() -> None:
    resources = kv_store.served(store("a:1", "b:1"), {"a:1": ("10.0.0.1", 1)})
    assert len(resources.load_assignments[0]["endpoints"][0]["lb_endpoints"]) == 1


def test_another_server_changes_the_endpoints_and_nothing_else() -> None:
    two, three = snapshot(store("a:1", "b:1")), snapshot(store("a:1", "b:1", "c:1"))
    assert (two.clusters, two.listeners, two.secrets) == (three.clusters, three.listeners, three.secrets)
    assert two.endpoints.version != three.endpoints.version


def test_certificates_are_secrets_of_their_own_which_envoy_reads_again_when_they_change() -> None:
    upstream = {"ca": "/etc/ca/servers.crt", "cert": TLS["cert"], "key": TLS["key"]}
    secrets = {each["name"]: each for each in found(store(tls=TLS, upstream_tls=upstream)).secrets}
    assert set(secrets) == {
        "kvgate_kv_store_certificate",
        "kvgate_kv_store_client_ca",
        "kvgate_kv_store_client_certificate",
        "kvgate_kv_store_server_ca",
    }
    assert secrets["kvgate_kv_store_client_ca"]["validation_context"]["watched_directory"] == {"path": "/etc/ca"}


def test_passwords_are_given_to_envoy_and_to_nobody_else() -> None:
    given = found(store(auth_password="s3cret-up", downstream_auth_password="s3cret-down"))
    assert "s3cret-up" in str(given.clusters)
    assert "s3cret-down" in str(given.listeners)
    assert "s3cret" not in shipped("kv-store.yaml")


def test_an_envoy_of_ones_own_reads_certificates_by_file() -> None:
    listener, cluster = kv_store.written_out(store("10.0.0.1:1", tls=TLS, upstream_tls={"ca": "/c"}), {})
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    assert context["require_client_certificate"]
    assert context["common_tls_context"]["tls_certificates"][0]["private_key"] == {"filename": "/etc/tls/tls.key"}
    assert cluster["type"] == "STATIC"
    assert "sds" not in str((listener, cluster))
    assert Path(
        cluster["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]["trusted_ca"][
            "filename"
        ]
    ) == Path("/c")


def test_the_listener_comes_last_and_goes_with_its_section() -> None:
    conversation = Conversation(snapshot(None))
    for type_url in (CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, SECRET_TYPE):
        (first,) = conversation.on_request(DiscoveryRequest(type_url=type_url))
        assert list(first.resources) == []
    pushed = conversation.on_snapshot(snapshot(store("a:1", tls=TLS)))
    assert [each.type_url for each in pushed] == [SECRET_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE]
    assert len(pushed[-1].resources) == 1
    assert list(conversation.on_snapshot(snapshot(None))[-1].resources) == []

"""envoy.yaml, filled in."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from extproc.config.settings import Settings
from extproc.control.bootstrap import ProcessorTarget, render_bootstrap, write_secrets
from extproc.control.template import fill, shipped

TARGET = "unix:/run/kvgate/processor.sock"


def rendered(tmp_path: Path, target: str = TARGET, **sections: Any) -> dict[str, Any]:
    config = Settings.model_validate(sections)
    document: dict[str, Any] = yaml.safe_load(render_bootstrap(config, processor_target=target, run_dir=tmp_path))
    return document


def connection_manager(document: dict[str, Any], listener: int = 0) -> dict[str, Any]:
    (chain,) = document["static_resources"]["listeners"][listener]["filter_chains"]
    config: dict[str, Any] = chain["filters"][0]["typed_config"]
    return config


def test_the_template_is_complete_by_itself() -> None:
    assert "${" not in yaml.safe_dump(fill(shipped("envoy.yaml"), {}))


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ('a: "${A}"', {"A": 1}, 1),
        ('a: "${A:-5}"', {}, 5),
        ('a: "${A:-5s}"', {}, "5s"),
        ('a: "${A:-x}"', {"A": "b: [c}"}, "b: [c}"),
        ("a: '%REQ(x)% {$} ${lower}'", {}, "%REQ(x)% {$} ${lower}"),
    ],
)
def test_a_placeholder_takes_its_value_or_its_default(text: str, values: dict[str, Any], filled: object) -> None:
    assert fill(text, values)["a"] == filled


def test_a_placeholder_without_value_and_a_value_without_placeholder_are_errors() -> None:
    with pytest.raises(ValueError, match="A"):
        fill('a: "${A}"', {})
    with pytest.raises(ValueError, match="B"):
        fill("a: 1", {"B": 2})


def test_the_settings_are_in_the_bootstrap(tmp_path: Path) -> None:
    document = rendered(
        tmp_path,
        server={
            "host": "127.0.0.1",
            "port": 1234,
            "max_body_bytes": 999,
            "request_timeout_s": 7,
            "max_connections": 55,
            "max_heap_bytes": 1 << 30,
        },
        envoy={"admin_port": 4321},
    )
    listener = document["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 1234}
    assert document["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 4321}
    (host,) = connection_manager(document)["route_config"]["virtual_hosts"]
    assert host["request_body_buffer_limit"] == 999
    assert host["retry_policy"]["per_try_idle_timeout"] == "7s"
    heap, connections = (each["typed_config"] for each in document["overload_manager"]["resource_monitors"])
    assert heap["max_heap_size_bytes"] == 1 << 30
    assert connections["max_active_downstream_connections"] == 55


def test_operations_are_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    default = rendered(tmp_path)["static_resources"]["listeners"][-1]
    told = rendered(tmp_path, operations={"host": "10.0.0.1", "port": 99, "token": "for-tests"})["static_resources"][
        "listeners"
    ][-1]
    assert default["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8081}
    assert told["address"]["socket_address"] == {"address": "10.0.0.1", "port_value": 99}


def test_the_processor_is_told_the_session_header_and_no_more_than_it_reads(tmp_path: Path) -> None:
    manager = connection_manager(rendered(tmp_path, routing={"session_header": "x-conversation"}))
    rules = manager["http_filters"][1]["typed_config"]["forward_rules"]["allowed_headers"]["patterns"]
    names = [rule["exact"] for rule in rules]
    asked = ["x-kvgate-explain", "x-kvgate-cache-control", "authorization", "x-api-key", "x-kvgate-tenant"]
    assert names == [":path", ":method", "x-request-id", *asked, ":status", "content-encoding", "x-conversation"]


@pytest.mark.parametrize(("auth", "fails_open"), [(False, True), (True, False)])
def test_with_authentication_nothing_passes_a_processor_that_is_down(
    tmp_path: Path, auth: bool, fails_open: bool
) -> None:
    manager = connection_manager(rendered(tmp_path, auth={"enabled": auth, "api_keys": [{"key": "k"}]}))
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    names = [route["name"] for route in routes]
    closed = routes[names.index("closed")]
    assert names.index("chosen") < names.index("closed") < names.index("ready") < names.index("kv-blind")
    assert closed["match"]["headers"] == [{"name": "x-kvgate-cluster", "present_match": fails_open}]
    assert closed["direct_response"] == {"status": 503}


def test_envoy_has_the_whole_definition_of_the_admin_api(tmp_path: Path) -> None:
    transcoder = next(
        each["typed_config"]
        for each in connection_manager(rendered(tmp_path), -1)["http_filters"]
        if each["name"] == "envoy.filters.http.grpc_json_transcoder"
    )
    files = FileDescriptorSet.FromString(b64decode(transcoder["proto_descriptor_bin"])).file
    known: set[str] = set()
    for file in files:
        assert known.issuperset(file.dependency)
        known.add(file.name)
    services = {f"{file.package}.{service.name}" for file in files for service in file.service}
    assert set(transcoder["services"]) <= services


def test_the_stream_idle_timeout_leaves_time_for_every_try(tmp_path: Path) -> None:
    manager = connection_manager(rendered(tmp_path, server={"request_timeout_s": 100}))
    (host,) = manager["route_config"]["virtual_hosts"]
    tries = 1 + host["retry_policy"]["num_retries"]
    assert float(manager["stream_idle_timeout"].rstrip("s")) > tries * 100


def test_generations_have_no_deadline(tmp_path: Path) -> None:
    (host,) = connection_manager(rendered(tmp_path))["route_config"]["virtual_hosts"]
    routes = {each["name"]: each["route"] for each in host["routes"] if "route" in each}
    assert routes["chosen"]["timeout"] == routes["kv-blind"]["timeout"] == "0s"


@pytest.mark.parametrize(
    ("target", "address", "kind"),
    [
        ("unix:/a/b.sock", {"pipe": {"path": "/a/b.sock"}}, "STATIC"),
        ("unix:///a/b.sock", {"pipe": {"path": "/a/b.sock"}}, "STATIC"),
        ("10.0.0.1:9002", {"socket_address": {"address": "10.0.0.1", "port_value": 9002}}, "STATIC"),
        ("0.0.0.0:9002", {"socket_address": {"address": "127.0.0.1", "port_value": 9002}}, "STATIC"),
        ("[::1]:9002", {"socket_address": {"address": "::1", "port_value": 9002}}, "STATIC"),
        ("kvgate.svc:9002", {"socket_address": {"address": "kvgate.svc", "port_value": 9002}}, "STRICT_DNS"),
    ],
)
def test_the_processor_is_a_socket_an_address_or_a_name(
    tmp_path: Path, target: str, address: dict[str, Any], kind: str
) -> None:
    (cluster,) = rendered(tmp_path, target)["static_resources"]["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert (endpoint["endpoint"]["address"], cluster["type"]) == (address, kind)


@pytest.mark.parametrize("target", ["", "host", ":9002", "host:", "host:x", "host:0", "host:70000"])
def test_anything_else_is_no_target(target: str) -> None:
    with pytest.raises(ValueError, match="processor's address"):
        ProcessorTarget.parse(target)


def test_without_tls_there_is_no_tls_listener(tmp_path: Path) -> None:
    names = [each["name"] for each in rendered(tmp_path)["static_resources"]["listeners"]]
    assert names == ["kvgate_http", "kvgate_operations"]
    write_secrets(Settings(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_with_tls_both_listeners_are_the_same_proxy(tmp_path: Path) -> None:
    tls = {"cert": "/c/tls.crt", "key": "/c/tls.key", "port": 9443}
    document = rendered(tmp_path, server={"tls": tls})
    assert connection_manager(document, 0) == connection_manager(document, 1)
    https = document["static_resources"]["listeners"][1]
    assert https["address"]["socket_address"]["port_value"] == 9443
    context = https["filter_chains"][0]["transport_socket"]["typed_config"]
    assert "require_client_certificate" not in context


def test_secret_files_name_the_files_and_the_folder_to_watch(tmp_path: Path) -> None:
    tls = {"cert": "/c/tls.crt", "key": "/c/tls.key", "client_ca": "/ca/ca.crt"}
    write_secrets(Settings.model_validate({"server": {"tls": tls}}), tmp_path)
    certificate, ca = (
        yaml.safe_load((tmp_path / name).read_text())["resources"][0]
        for name in ("tls-certificate.yaml", "tls-client-ca.yaml")
    )
    assert certificate["tls_certificate"]["private_key"] == {"filename": "/c/tls.key"}
    assert certificate["tls_certificate"]["watched_directory"] == {"path": "/c"}
    assert ca["validation_context"]["trusted_ca"] == {"filename": "/ca/ca.crt"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["tls-certificate.yaml", "tls-client-ca.yaml"]

"""The parts of envoy.yaml that traces and the request log need, filled in or left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.config.observability import Telemetry
from extproc.control.resources import Upstream, is_ip, verified_tls

_COLLECTOR = "kvgate_collector"
_EXPORT_TIMEOUT = "2s"


def placeholders(telemetry: Telemetry) -> dict[str, str | int]:
    """What to fill envoy.yaml in with."""
    return {"TRACE_SERVICE": telemetry.service_name, "TRACES_PER_MILLION": round(telemetry.sample_ratio * 1_000_000)}


def fit_telemetry(document: dict[str, Any], telemetry: Telemetry) -> None:
    """Leaves out what is not wanted, and points the rest at the collector."""
    for connections in _public_connection_managers(document):
        if not telemetry.logged:
            for log in connections["access_log"]:
                del log["typed_config"]["common_config"]["custom_tags"]
                del log["typed_config"]["additional_request_headers_to_log"]
        if not telemetry.traced:
            del connections["tracing"]
        elif telemetry.otlp_protocol == "http":
            config = connections["tracing"]["provider"]["typed_config"]
            del config["grpc_service"]
            uri = {"uri": telemetry.export_url, "cluster": _COLLECTOR, "timeout": _EXPORT_TIMEOUT}
            config["http_service"] = {"http_uri": uri}
    clusters = document["static_resources"]["clusters"]
    collector = next(each for each in clusters if each["name"] == _COLLECTOR)
    if telemetry.traced:
        _point_at(collector, telemetry)
    else:
        clusters.remove(collector)


def _public_connection_managers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for listener in document["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            for each in chain["filters"]:
                if each["typed_config"].get("stat_prefix") == "kvgate":
                    yield each["typed_config"]


def _point_at(cluster: dict[str, Any], telemetry: Telemetry) -> None:
    url = telemetry.otlp_endpoint
    if url is None or url.host is None:
        return
    host = url.host.strip("[]")
    address = {"socket_address": {"address": host, "port_value": url.port}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = address
    if is_ip(host):
        cluster["type"] = "STATIC"
        del cluster["dns_lookup_family"]
    if telemetry.otlp_protocol == "http":
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        options["explicit_http_config"] = {"http_protocol_options": {}}
    if url.scheme == "https":
        cluster["transport_socket"] = verified_tls(Upstream.system_ca_file())
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = host

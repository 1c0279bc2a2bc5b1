"""What the supervised Envoy starts with: envoy.yaml, filled in from the settings, its clusters to come over ADS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extproc.config.settings import Settings, Tls
from extproc.config.topology import host_port
from extproc.control.admin_api import admin_api
from extproc.control.resources import KEEPALIVE, is_ip, seconds
from extproc.control.telemetry import fit_telemetry, placeholders
from extproc.control.template import fill, shipped, to_yaml

RETRIES = 3
"""Tries after the first, as envoy.yaml says."""

BY_NAME = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
"""For hosts that Envoy resolves. Engines listen on 0.0.0.0, where Envoy's own preference for IPv6 finds nobody."""

CERTIFICATE_FILE = "tls-certificate.yaml"
CLIENT_CA_FILE = "tls-client-ca.yaml"


@dataclass(frozen=True, slots=True)
class ProcessorTarget:
    """Where Envoy finds the processor: a unix socket, or host and port."""

    socket: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, target: str) -> ProcessorTarget:
        """`unix:/path`, `host:port` or `[v6]:port`.

        Raises:
            ValueError: neither form.
        """
        if target.startswith("unix:"):
            path = target.removeprefix("unix:")
            # gRPC also writes unix:///path
            return cls(socket="/" + path.lstrip("/") if path.startswith("//") else path)
        host, colon, port = target.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"the processor's address is unix:/path or host:port, not {target!r}")
        host = host.strip("[]")
        return cls(host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port=int(port))

    def __str__(self) -> str:
        """As a gRPC client dials it."""
        return f"unix:{self.socket}" if self.socket is not None else host_port(self.host, self.port)

    @property
    def address(self) -> dict[str, Any]:
        if self.socket is not None:
            return {"pipe": {"path": self.socket}}
        return {"socket_address": {"address": self.host, "port_value": self.port}}


def render_bootstrap(settings: Settings, *, processor_target: str, run_dir: Path) -> str:
    """The YAML to start Envoy with. With TLS, `write_secrets` must have put its files in `run_dir`.

    Args:
        processor_target: `unix:/path` or `host:port`, as Envoy reaches it.
        run_dir: where the secret files are.

    Raises:
        ValueError: `processor_target` is neither form.
    """
    document = front_proxy(settings, ProcessorTarget.parse(processor_target))
    if settings.server.tls is not None:
        serve_tls(document, common_tls=_secrets_by_file(settings.server.tls, run_dir), tls=settings.server.tls)
    return to_yaml(document)


def write_secrets(settings: Settings, run_dir: Path) -> None:
    """Write the SDS files that name certificate, key and client CA. Nothing to do without TLS.

    The files hold paths only: Envoy reads the secrets themselves, again whenever their folder changes.
    """
    for name, document in secrets(settings.server.tls).items():
        path = run_dir / name
        staged = path.with_suffix(".tmp")
        staged.write_text(to_yaml(document), "utf-8")
        staged.replace(path)


def secrets(tls: Tls | None) -> Mapping[str, dict[str, Any]]:
    """File name -> its SDS document; Envoy takes one secret a file."""
    if tls is None:
        return {}
    certificate = {
        "certificate_chain": {"filename": str(tls.cert.absolute())},
        "private_key": {"filename": str(tls.key.absolute())},
        "watched_directory": {"path": str(tls.cert.absolute().parent)},
    }
    documents = {CERTIFICATE_FILE: _secret("kvgate_certificate", {"tls_certificate": certificate})}
    if tls.client_ca is not None:
        ca = {
            "trusted_ca": {"filename": str(tls.client_ca.absolute())},
            "watched_directory": {"path": str(tls.client_ca.absolute().parent)},
        }
        documents[CLIENT_CA_FILE] = _secret("kvgate_client_ca", {"validation_context": ca})
    return documents


def front_proxy(settings: Settings, processor: ProcessorTarget) -> dict[str, Any]:
    """envoy.yaml with the settings in it; its TLS listener only if there is TLS, and as yet without a certificate."""
    server = settings.server
    document = fill(
        shipped("envoy.yaml"),
        {
            "ADMIN_LUA": shipped("admin.lua"),
            "ADMIN_HOST": settings.envoy.admin_host,
            "ADMIN_PORT": settings.envoy.admin_port,
            "ADMIN_API": admin_api(),
            "FAIL_OPEN": not settings.auth.enabled,
            "LISTEN_HOST": server.host,
            "LISTEN_PORT": server.port,
            "MAX_BODY_BYTES": server.max_body_bytes,
            "MAX_CONNECTIONS": server.max_connections,
            "MAX_HEAP_BYTES": server.max_heap_bytes,
            "OPERATIONS_HOST": settings.operations.host,
            "OPERATIONS_PORT": settings.operations.port,
            "REPLICA_SILENCE_TIMEOUT": seconds(server.request_timeout_s),
            "REPLY_LUA": shipped("reply.lua"),
            "SESSION_HEADER": settings.routing.session_header,
            "STREAM_IDLE_TIMEOUT": seconds(server.request_timeout_s * (RETRIES + 1) + 60),
            **placeholders(settings.telemetry),
            **({"TENANT_HEADER": settings.auth.tenant_header} if settings.auth.tenant_header else {}),
            **({"TLS_PORT": server.tls.port} if server.tls is not None else {}),
        },
    )
    fit_telemetry(document, settings.telemetry)
    resources = document["static_resources"]
    if server.tls is None:
        resources["listeners"] = [each for each in resources["listeners"] if each["name"] != "kvgate_https"]
    _point_at(resources["clusters"][0], processor)
    return document


def serve_tls(document: dict[str, Any], *, common_tls: Mapping[str, Any], tls: Tls) -> None:
    """Give the TLS listener its certificate, and its client CA if there is one."""
    listener = next(each for each in document["static_resources"]["listeners"] if each["name"] == "kvgate_https")
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    context["common_tls_context"].update(common_tls)
    if tls.client_ca is not None:
        context["require_client_certificate"] = True


def _point_at(cluster: dict[str, Any], processor: ProcessorTarget) -> None:
    """Give the processor's cluster its address. A host name is resolved by Envoy."""
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = processor.address
    if processor.socket is not None:
        return
    cluster["upstream_connection_options"] = KEEPALIVE
    if not is_ip(processor.host):
        cluster.update(BY_NAME)


def _secrets_by_file(tls: Tls, run_dir: Path) -> dict[str, Any]:
    def secret(name: str, file: str) -> dict[str, Any]:
        source = {"path": str(run_dir.absolute() / file)}
        return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}

    context: dict[str, Any] = {"tls_certificate_sds_secret_configs": [secret("kvgate_certificate", CERTIFICATE_FILE)]}
    if tls.client_ca is not None:
        context["validation_context_sds_secret_config"] = secret("kvgate_client_ca", CLIENT_CA_FILE)
    return context


def _secret(name: str, content: dict[str, Any]) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {"resources": [{"@type": kind, "name": name, **content}]}

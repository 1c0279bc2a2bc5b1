"""Topology -> Envoy clusters and endpoints, as pure functions.

Resources are plain dicts in proto3's JSON form, the language of envoy.yaml, so that one definition serves ADS
(`Snapshot`), a user's own Envoy (`render_static`) and the reader of a rendered file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from extproc.config.topology import FALLBACK_CLUSTER, Pool, Replica, Topology

Resource = dict[str, Any]
Addresses = Mapping[str, tuple[str, int]]
"""Replica name -> (IP, port). EDS takes no host names."""

DESTINATION = "x-gateway-destination-endpoint"
SERVED = "x-gateway-destination-endpoint-served"

KEEPALIVE: Resource = {"tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}}
"""A peer that vanished without a word is noticed within a minute."""

_SYSTEM_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """How Envoy treats replicas, beyond what the topology says of them.

    Args:
        failure_threshold: failures in a row before Envoy sets a replica aside.
        cooldown_s: how long it is set aside; longer each time, up to ten times this.
        ca_file: PEM bundle that replicas reached over TLS are verified against.
    """

    failure_threshold: int = 3
    cooldown_s: float = 15.0
    ca_file: str = _SYSTEM_CA_FILES[0]

    @staticmethod
    def system_ca_file() -> str:
        """This machine's CA bundle; Debian's path when there is none."""
        return next((path for path in _SYSTEM_CA_FILES if Path(path).is_file()), _SYSTEM_CA_FILES[0])


@dataclass(frozen=True, slots=True)
class Membership:
    """An Envoy cluster to be: its name, the pool whose transport it uses, and who is in it."""

    cluster: str
    pool: Pool
    replicas: tuple[Replica, ...]


def memberships(topology: Topology) -> list[Membership]:
    """Every cluster that holds replicas: one a pool, and one for each `cluster:` that a replica names.

    Raises:
        ValueError: a replica's own cluster has the name of a pool or of the fallback cluster.
    """
    taken = {*topology.pools, FALLBACK_CLUSTER}
    pools = [Membership(pool.name, pool, pool.replicas) for pool in topology.pools.values()]
    own: dict[str, Membership] = {}
    for pool in topology.pools.values():
        for replica in pool.replicas:
            if replica.cluster is None:
                continue
            if replica.cluster in taken:
                raise ValueError(f"replica {replica.name!r}: the cluster name {replica.cluster!r} is taken")
            own.setdefault(replica.cluster, Membership(replica.cluster, pool, (replica,)))
    return pools + list(own.values())


def clusters(topology: Topology, upstream: Upstream) -> list[Resource]:
    """The clusters to serve over CDS; their endpoints come over EDS.

    Raises:
        ValueError: see `memberships`.
    """
    resources = [eds_cluster(member.cluster, member.pool, upstream) for member in memberships(topology)]
    if topology.default_pool is not None:
        resources.append(fallback_cluster(topology.default_pool))
    return resources


def load_assignments(topology: Topology, addresses: Addresses) -> list[Resource]:
    """The ClusterLoadAssignment of each cluster. A replica without an address is left out; data-parallel ranks of one
    process are one endpoint.

    Raises:
        ValueError: see `memberships`.
    """
    return [
        load_assignment(
            member.cluster,
            [
                lb_endpoint(replica, *addresses[replica.name])
                for replica in processes(member.replicas)
                if replica.name in addresses
            ],
        )
        for member in memberships(topology)
    ]


def eds_cluster(name: str, pool: Pool, upstream: Upstream) -> Resource:
    """A cluster whose endpoints come over the ADS stream that brought it."""
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        **cluster_policy(pool, upstream),
    }


def fallback_cluster(default_pool: str) -> Resource:
    """`kvgate-default`: the default pool under a fixed name, which a static route can point at.

    An aggregate only borrows the pool's hosts, so they are neither health-checked nor connected to twice.
    """
    return {
        "name": FALLBACK_CLUSTER,
        "connect_timeout": "3s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [default_pool],
            },
        },
        "circuit_breakers": _circuit_breakers(),
    }


def load_assignment(cluster: str, endpoints: Iterable[Resource]) -> Resource:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": list(endpoints)}]}


def processes(replicas: Iterable[Replica]) -> list[Replica]:
    """One of each engine process: of data-parallel ranks the first, with the weight of all."""
    found: dict[str, Replica] = {}
    for replica in replicas:
        first = found.get(replica.process)
        found[replica.process] = replica if first is None else replace(first, weight=first.weight + replica.weight)
    return list(found.values())


def lb_endpoint(replica: Replica, address: str, port: int) -> Resource:
    """One engine process. Its metadata says what `x-kvgate-replica` says; its hostname becomes Host and SNI."""
    endpoint: Resource = {
        "endpoint": {
            "address": {"socket_address": {"address": address, "port_value": port}},
            "hostname": replica.host,
            "health_check_config": {"hostname": replica.host},
        },
        # Envoy's weights are integers, so that 0.5 and 1.5 keep their ratio as 50 and 150.
        "load_balancing_weight": max(1, round(replica.weight * 100)),
        "metadata": {"filter_metadata": {"kvgate": {"replica": replica.process}}},
    }
    if replica.draining:
        endpoint["health_status"] = "DRAINING"
    return endpoint


def cluster_policy(pool: Pool, upstream: Upstream) -> Resource:
    """What all clusters of a pool have in common, however their endpoints are found."""
    policy: Resource = {
        "connect_timeout": "3s",
        "per_connection_buffer_limit_bytes": 1 << 20,
        # Without this, a replica taken out of the configuration is used until its health check fails.
        "ignore_health_on_host_removal": True,
        "load_balancing_policy": {"policies": [{"typed_extension_config": _override_host()}]},
        # At 1 %, only a fleet in which nobody is healthy is tried all the same.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}, "ignore_new_hosts_until_first_hc": True},
        "health_checks": [_health_check(pool.health_path)] if pool.health_path else [],
        "outlier_detection": _outlier_detection(upstream),
        "circuit_breakers": _circuit_breakers(),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _http_1()},
        "upstream_connection_options": KEEPALIVE,
        "track_cluster_stats": {"per_endpoint_stats": True},
    }
    if pool.tls:
        policy["transport_socket"] = verified_tls(upstream.ca_file)
    return policy


def _override_host() -> Resource:
    """The processor's ordered list first; where it ends, or is missing, the replica with the fewest requests."""
    return {
        "name": "envoy.load_balancing_policies.override_host",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost",
            # Not the header of the same name: the route takes it off before the host is chosen.
            "override_host_sources": [{"metadata": {"key": "envoy.lb", "path": [{"key": DESTINATION}]}}],
            "selected_host_key": {"key": "envoy.lb", "path": [{"key": SERVED}]},
            "fallback_policy": {
                "policies": [
                    {
                        "typed_extension_config": {
                            "name": "envoy.load_balancing_policies.least_request",
                            "typed_config": {
                                "@type": "type.googleapis.com/"
                                "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                            },
                        }
                    }
                ]
            },
        },
    }


def _health_check(path: str) -> Resource:
    """An engine busy with prefill may answer late, so it has 5 s, twice; a refused connection needs no second look."""
    return {
        "timeout": "5s",
        "interval": "3s",
        "unhealthy_interval": "1s",
        "no_traffic_interval": "3s",  # the default is a minute
        "no_traffic_healthy_interval": "5s",
        "interval_jitter_percent": 10,
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }


def _outlier_detection(upstream: Upstream) -> Resource:
    failures = upstream.failure_threshold
    return {
        "interval": "1s",
        "consecutive_gateway_failure": failures,
        "enforcing_consecutive_gateway_failure": 100,
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": failures,
        # A 500 may be the request's own fault, and every retry of it would count against another replica.
        "consecutive_5xx": failures * 4,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "base_ejection_time": seconds(upstream.cooldown_s),
        "max_ejection_time": seconds(upstream.cooldown_s * 10),
        "max_ejection_percent": 50,
        # /health passing says nothing about a replica that fails its requests: the cooldown holds.
        "successful_active_health_check_uneject_host": False,
    }


def _circuit_breakers() -> Resource:
    """No limit of Envoy's: admission is the processor's business. Retries may not outnumber what is in flight."""
    return {
        "thresholds": [
            {
                "max_connections": 100_000,
                "max_pending_requests": 100_000,
                "max_requests": 100_000,
                "retry_budget": {"budget_percent": {"value": 100}, "min_retry_concurrency": 256},
            }
        ]
    }


def _http_1() -> Resource:
    return {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        # uvicorn, under vLLM, closes an idle connection after 5 s: be first, or a request meets the close.
        "common_http_protocol_options": {"idle_timeout": "4s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }


def verified_tls(ca_file: str) -> Resource:
    """The transport of an upstream whose certificate must be for its host name and signed by one of these CAs."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "auto_host_sni": True,
            "auto_sni_san_validation": True,
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": ca_file}}},
        },
    }


def seconds(value_s: float) -> str:
    """A duration in proto3's JSON form.

    >>> seconds(0.25), seconds(300)
    ('0.25s', '300s')
    """
    return f"{value_s:.3f}".rstrip("0").rstrip(".") + "s"


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

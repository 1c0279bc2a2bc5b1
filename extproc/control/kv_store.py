"""`kv_store` of the settings -> envoy/kv-store.yaml, filled in: a listener, its cluster, endpoints and certificates.

Over ADS all of it follows the configuration file. For an Envoy of the user's own it is written out,
certificates by file name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extproc.config.kv_store import KvServer, KvStore
from extproc.control.resources import Addresses, Resource, Upstream, is_ip, load_assignment, seconds
from extproc.control.template import fill, shipped

CLUSTER = "kvgate-kv-store"
TEMPLATE = "kv-store.yaml"

_BY_ADS = {"ads": {}, "resource_api_version": "V3"}
_REDIS, _TCP = "envoy.filters.network.redis_proxy", "envoy.filters.network.tcp_proxy"


@dataclass(frozen=True, slots=True)
class KvStoreResources:
    """What ADS serves for the listener; nothing at all where there is none."""

    listeners: tuple[Resource, ...] = ()
    clusters: tuple[Resource, ...] = ()
    load_assignments: tuple[Resource, ...] = ()
    secrets: tuple[Resource, ...] = ()


NOTHING = KvStoreResources()


@dataclass(frozen=True, slots=True)
class _Identity:
    """A side's certificate and whom it trusts, as names of secrets and what is in them."""

    certificate: tuple[str, Path, Path] | None = None
    trusted: tuple[str, Path] | None = None

    def secrets(self) -> Iterator[Resource]:
        """What ADS serves of it: paths, which Envoy reads again whenever their folders change."""
        if self.certificate is not None:
            name, cert, key = self.certificate
            yield {"name": name, "tls_certificate": {**_pair(cert, key), **_watched(cert)}}
        if self.trusted is not None:
            name, ca = self.trusted
            yield {"name": name, "validation_context": {**_trusted(ca), **_watched(ca)}}

    def by_ads(self) -> Resource:
        """Part of a `common_tls_context`: the secrets by name."""
        context: Resource = {}
        if self.certificate is not None:
            context["tls_certificate_sds_secret_configs"] = [{"name": self.certificate[0], "sds_config": _BY_ADS}]
        if self.trusted is not None:
            context["validation_context_sds_secret_config"] = {"name": self.trusted[0], "sds_config": _BY_ADS}
        return context

    def by_file(self) -> Resource:
        """The same for an Envoy without ADS, whose owner sees to renewals."""
        context: Resource = {}
        if self.certificate is not None:
            context["tls_certificates"] = [_pair(*self.certificate[1:])]
        if self.trusted is not None:
            context["validation_context"] = _trusted(self.trusted[1])
        return context


def served(store: KvStore | None, addresses: Addresses) -> KvStoreResources:
    """What to serve over ADS.

    Args:
        addresses: server name -> (IP, port); one that is missing gets no endpoint.
    """
    if store is None:
        return NOTHING
    here, there = _downstream(store), _upstream(store)
    found = [each for each in store.peers if each.name in addresses]
    cluster = {
        **_cluster(store, there.by_ads()),
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _BY_ADS},
    }
    return KvStoreResources(
        listeners=(_listener(store, here.by_ads()),),
        clusters=(cluster,),
        load_assignments=(load_assignment(CLUSTER, [_endpoint(each, *addresses[each.name]) for each in found]),),
        secrets=(*here.secrets(), *there.secrets()),
    )


def written_out(store: KvStore, by_name: Mapping[str, Any]) -> tuple[Resource, Resource]:
    """Listener and cluster for an Envoy without ADS.

    Args:
        by_name: the type of a cluster whose hosts Envoy resolves.
    """
    peers = store.peers
    cluster = {
        **_cluster(store, _upstream(store).by_file()),
        **({"type": "STATIC"} if all(is_ip(each.host) for each in peers) else by_name),
        "load_assignment": load_assignment(CLUSTER, [_endpoint(each, each.host, each.port) for each in peers]),
    }
    return _listener(store, _downstream(store).by_file()), cluster


def _listener(store: KvStore, common_tls: Resource) -> Resource:
    listener = _template(store)["listener"]
    (chain,) = listener["filter_chains"]
    left_out = _REDIS if store.relays_bytes else _TCP
    chain["filters"] = [each for each in chain["filters"] if each["name"] != left_out]
    if not store.relays_bytes:
        passwords = [store.downstream_auth_password] if store.downstream_auth_password else []
        redis = chain["filters"][-1]["typed_config"]
        redis["downstream_auth_passwords"] = [{"inline_string": each} for each in passwords]
    if store.tls is None:
        del chain["transport_socket"]
    else:
        context = chain["transport_socket"]["typed_config"]
        context["common_tls_context"].update(common_tls)
        context["require_client_certificate"] = store.tls.client_ca is not None
    found: Resource = listener
    return found


def _cluster(store: KvStore, common_tls: Resource) -> Resource:
    cluster: Resource = _template(store)["cluster"]
    if store.auth_password is not None:
        login = {"auth_username": store.auth_username, "auth_password": store.auth_password}
        cluster["typed_extension_protocol_options"] = {
            _REDIS: {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions",
                **{name: {"inline_string": value} for name, value in login.items() if value is not None},
            }
        }
    if store.upstream_tls is None:
        del cluster["transport_socket"]
    else:
        cluster["transport_socket"]["typed_config"]["common_tls_context"].update(common_tls)
    return cluster


def _template(store: KvStore) -> dict[str, Any]:
    return fill(
        shipped(TEMPLATE),
        {
            "LISTEN_HOST": store.host,
            "LISTEN_PORT": store.port,
            "MAX_CONNECTIONS": store.max_connections,
            "OP_TIMEOUT": seconds(store.op_timeout_s),
        },
    )


def _endpoint(server: KvServer, address: str, port: int) -> Resource:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": address, "port_value": port}},
            "hostname": server.host,
        },
        # By name, so that a server keeps its keys when its address changes.
        "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": server.name}}},
    }


def _downstream(store: KvStore) -> _Identity:
    if store.tls is None:
        return _Identity()
    ca = store.tls.client_ca
    return _Identity(
        ("kvgate_kv_store_certificate", store.tls.cert, store.tls.key),
        ("kvgate_kv_store_client_ca", ca) if ca is not None else None,
    )


def _upstream(store: KvStore) -> _Identity:
    tls = store.upstream_tls
    if tls is None:
        return _Identity()
    shown = ("kvgate_kv_store_client_certificate", tls.cert, tls.key) if tls.cert and tls.key else None
    return _Identity(shown, ("kvgate_kv_store_server_ca", tls.ca or Path(Upstream.system_ca_file())))


def _pair(cert: Path, key: Path) -> Resource:
    return {
        "certificate_chain": {"filename": str(cert.absolute())},
        "private_key": {"filename": str(key.absolute())},
    }


def _trusted(ca: Path) -> Resource:
    return {"trusted_ca": {"filename": str(ca.absolute())}}


def _watched(file: Path) -> Resource:
    return {"watched_directory": {"path": str(file.absolute().parent)}}

"""What all Envoys should know at one moment: the resources of a topology, serialised and versioned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as _aggregate  # noqa: F401 - ParseDict looks it up
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from xds.type.v3 import typed_struct_pb2 as _typed_struct  # type: ignore[import-untyped]  # noqa: F401

from extproc.config.topology import Topology
from extproc.control import kv_store, resources
from extproc.control.kv_store import KvStoreResources
from extproc.control.resources import Addresses, Resource, Upstream

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, slots=True)
class TypeSnapshot:
    """All resources of one type, by name; `version` is a hash of their content."""

    version: str
    resources: Mapping[str, AnyMessage]

    @classmethod
    def of(cls, messages: Mapping[str, Message]) -> TypeSnapshot:
        packed: dict[str, AnyMessage] = {}
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(messages):
            packed[name] = AnyMessage()
            packed[name].Pack(messages[name], deterministic=True)
            digest.update(packed[name].SerializeToString(deterministic=True))
        return cls(digest.hexdigest(), packed)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Clusters and endpoints that belong together. Snapshots of equal content have equal versions."""

    clusters: TypeSnapshot
    endpoints: TypeSnapshot
    listeners: TypeSnapshot
    secrets: TypeSnapshot

    @classmethod
    def of(
        cls,
        topology: Topology,
        addresses: Addresses,
        upstream: Upstream | None = None,
        store: KvStoreResources = kv_store.NOTHING,
    ) -> Snapshot:
        """The snapshot of a topology whose replicas' names are resolved.

        Args:
            addresses: replica name -> (IP, port); a replica that is missing gets no endpoint.
            store: the listener in front of the remote KV store, and what belongs to it.

        Raises:
            ValueError: two clusters would have one name.
            google.protobuf.json_format.ParseError: an address that Envoy's API cannot hold.
        """
        upstream = upstream or Upstream(ca_file=Upstream.system_ca_file())
        return cls(
            clusters=TypeSnapshot.of(
                {
                    cluster["name"]: ParseDict(with_typed_structs(cluster), cluster_pb2.Cluster())
                    for cluster in (*resources.clusters(topology, upstream), *store.clusters)
                }
            ),
            endpoints=TypeSnapshot.of(
                {
                    assignment["cluster_name"]: ParseDict(assignment, endpoint_pb2.ClusterLoadAssignment())
                    for assignment in (*resources.load_assignments(topology, addresses), *store.load_assignments)
                }
            ),
            listeners=TypeSnapshot.of(
                {
                    listener["name"]: ParseDict(with_typed_structs(listener), listener_pb2.Listener())
                    for listener in store.listeners
                }
            ),
            secrets=TypeSnapshot.of(
                {secret["name"]: ParseDict(secret, secret_pb2.Secret()) for secret in store.secrets}
            ),
        )

    @property
    def version(self) -> str:
        types = (self.clusters, self.endpoints, self.listeners, self.secrets)
        return "-".join(each.version for each in types)

    def type(self, type_url: str) -> TypeSnapshot:
        """The resources of a type; none for a type that is not served here."""
        served = {
            CLUSTER_TYPE: self.clusters,
            ENDPOINT_TYPE: self.endpoints,
            LISTENER_TYPE: self.listeners,
            SECRET_TYPE: self.secrets,
        }
        return served.get(type_url, _NOTHING)


def with_typed_structs(resource: Resource) -> Resource:
    """A cluster or listener whose extension configurations are TypedStructs, which Envoy parses itself.

    The Python stubs lag behind Envoy (xds-protos 1.85 has no `selected_host_key`); this way they need not know
    the extensions.
    """

    def converted(node: Any) -> Any:
        if isinstance(node, list):
            return [converted(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "@type" in node:
            value = {key: item for key, item in node.items() if key != "@type"}
            return {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": node["@type"], "value": value}
        # cluster_type alone takes no TypedStruct
        return {key: item if key == "cluster_type" else converted(item) for key, item in node.items()}

    found: Resource = converted(resource)
    return found


_NOTHING = TypeSnapshot("0", {})

"""The whole configuration for an Envoy that somebody else runs: clusters and endpoints written out, no ADS.

The result goes through the typed classes of envoy-data-plane, which know every field of Envoy's API: a misspelt option
of the template fails here and not in production.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Any

from extproc.config.settings import Settings, Tls
from extproc.config.topology import Topology
from extproc.control import kv_store, resources
from extproc.control.bootstrap import BY_NAME, ProcessorTarget, front_proxy, serve_tls
from extproc.control.resources import Resource, Upstream, is_ip
from extproc.control.template import to_yaml

_STATIC = {"type": "STATIC"}
_Path = tuple[str | int, ...]
_MISREAD = {"consecutive_5xx"}
"""betterproto2 0.9 turns this key into `consecutive_5_xx` and then does not know it: it goes around the library."""


class RenderUnavailable(RuntimeError):
    """envoy-data-plane, which checks the configuration, is not installed: it needs Python 3.11."""


def render_static(
    settings: Settings, topology: Topology, *, processor_target: str, upstream: Upstream | None = None
) -> str:
    """The full static configuration as YAML. Replicas named by host name are resolved by Envoy (STRICT_DNS).

    Args:
        processor_target: `unix:/path` or `host:port`, as that Envoy reaches the processor.

    Raises:
        RenderUnavailable: on Python 3.10.
        ValueError: a cluster name is used twice, or `processor_target` is neither form.
    """
    return to_yaml(canonical(static_document(settings, topology, processor_target, upstream)))


def static_document(
    settings: Settings, topology: Topology, processor_target: str, upstream: Upstream | None = None
) -> dict[str, Any]:
    """What `render_static` prints, before the typed check."""
    upstream = upstream or Upstream(ca_file=Upstream.system_ca_file())
    document = front_proxy(settings, ProcessorTarget.parse(processor_target))
    del document["dynamic_resources"]
    document["static_resources"]["clusters"] += static_clusters(topology, upstream)
    if settings.kv_store is not None:
        listener, cluster = kv_store.written_out(settings.kv_store, BY_NAME)
        document["static_resources"]["listeners"].append(listener)
        document["static_resources"]["clusters"].append(cluster)
    if settings.server.tls is not None:
        serve_tls(document, common_tls=_files(settings.server.tls), tls=settings.server.tls)
    return document


def static_clusters(topology: Topology, upstream: Upstream) -> list[Resource]:
    """The clusters that ADS would serve, each with its endpoints inside."""
    found = [
        {
            "name": member.cluster,
            **(_STATIC if all(is_ip(replica.host) for replica in member.replicas) else BY_NAME),
            **resources.cluster_policy(member.pool, upstream),
            "load_assignment": resources.load_assignment(
                member.cluster,
                [resources.lb_endpoint(each, each.host, each.port) for each in resources.processes(member.replicas)],
            ),
        }
        for member in resources.memberships(topology)
    ]
    if topology.default_pool is not None:
        found.append(resources.fallback_cluster(topology.default_pool))
    return found


def canonical(document: dict[str, Any]) -> dict[str, Any]:
    """The document as envoy-data-plane's classes understand and write it.

    Raises:
        RenderUnavailable: on Python 3.10.
    """
    readable, misread = _set_aside(document)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, of pydantic and of fields that Envoy is about to retire
        written = _round_trip(readable)
    for path, value in misread:
        parent: Any = written
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = value
    return written


def _round_trip(document: dict[str, Any]) -> dict[str, Any]:
    try:
        from envoy_data_plane.envoy.config.bootstrap.v3 import Bootstrap
    except ImportError as missing:
        version = ".".join(map(str, sys.version_info[:2]))
        raise RenderUnavailable(
            f"rendering a static configuration needs envoy-data-plane, hence Python 3.11 or newer (this is {version})"
        ) from missing
    for type_url in _type_urls(document):
        # importing a package registers its messages, which `Any` fields are looked up by
        import_module(f"envoy_data_plane.{type_url.partition('/')[2].rpartition('.')[0]}")
    written: dict[str, Any] = Bootstrap.from_dict(document).to_dict(casing=lambda name: name)
    return written


def _set_aside(node: Any, path: _Path = ()) -> tuple[Any, list[tuple[_Path, Any]]]:
    """A copy without the fields whose names betterproto2 misreads, and those fields by path."""
    misread: list[tuple[_Path, Any]] = []
    if not isinstance(node, (dict, list)):
        return node, misread
    copied: dict[Any, Any] = {}
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in _MISREAD:
            misread.append(((*path, key), value))
            continue
        copied[key], deeper = _set_aside(value, (*path, key))
        misread += deeper
    return (copied if isinstance(node, dict) else list(copied.values())), misread


def _type_urls(node: Any) -> set[str]:
    """Every `@type` in a document."""
    if isinstance(node, list):
        return set().union(*map(_type_urls, node))
    if not isinstance(node, dict):
        return set()
    named = {node["@type"]} if "@type" in node else set()
    return named.union(*map(_type_urls, node.values()))


def _files(tls: Tls) -> dict[str, Any]:
    """Certificates by file name. Reloading them is up to that Envoy's owner."""
    context: dict[str, Any] = {
        "tls_certificates": [
            {"certificate_chain": {"filename": str(tls.cert)}, "private_key": {"filename": str(tls.key)}}
        ]
    }
    if tls.client_ca is not None:
        context["validation_context"] = {"trusted_ca": {"filename": str(tls.client_ca)}}
    return context

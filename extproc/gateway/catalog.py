"""What the request path looks things up in, replaced as a whole when the configuration or an address changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from extproc.config.settings import Routing
from extproc.config.topology import Topology, host_port
from extproc.routing import Strategy

Addresses = Mapping[str, tuple[str, int]]
"""Replica name -> (IP address, port)."""


@dataclass(frozen=True)
class Directory:
    """One consistent state of the configuration.

    Args:
        strategy: kept across changes that do not concern it, since some strategies remember.
        addresses: a replica without an address cannot be routed to.
    """

    topology: Topology
    routing: Routing
    strategy: Strategy
    addresses: Addresses

    @cached_property
    def endpoints(self) -> Mapping[str, str]:
        """Replica name -> ``ip:port``, as Envoy's override_host policy reads it."""
        return {name: host_port(*address) for name, address in self.addresses.items()}

    @cached_property
    def replica_at(self) -> Mapping[tuple[str, int], str]:
        """(IP address, port) -> replica name."""
        return {address: name for name, address in self.addresses.items()}


class Catalog:
    """Holds the current directory. A request reads `current` once and keeps what it read."""

    def __init__(self, directory: Directory) -> None:
        self.current = directory

"""What the request path looks things up in, replaced as a whole when the configuration or an address changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from extproc.config.settings import Routing
from extproc.config.topology import Model, Replica, Target, Topology, host_port
from extproc.gateway.policies import Policies
from extproc.routing import Option, Strategy

if TYPE_CHECKING:
    from extproc.prefix.tokenizer.exactly import TokenizedModel

Addresses = Mapping[str, tuple[str, int]]
"""Replica name -> (IP address, port)."""


@dataclass(frozen=True)
class Directory:
    """One consistent state of the configuration.

    Args:
        strategy: kept across changes that do not concern it, since some strategies remember.
        addresses: a replica without an address cannot be routed to.
        tokenized: in precise mode, the models whose prompts can be tokenised, by name.
    """

    topology: Topology
    routing: Routing
    strategy: Strategy
    addresses: Addresses
    policies: Policies
    tokenized: Mapping[str, TokenizedModel] = field(default_factory=dict)

    @cached_property
    def endpoints(self) -> Mapping[str, str]:
        """Replica name -> ``ip:port``, as Envoy's override_host policy reads it."""
        return {name: host_port(*address) for name, address in self.addresses.items()}

    @cached_property
    def replica_at(self) -> Mapping[tuple[str, int], str]:
        """(IP address, port) -> the name of the engine process there."""
        replicas = self.topology.replicas
        return {address: replicas[name].process for name, address in self.addresses.items() if name in replicas}

    @cached_property
    def health_urls(self) -> Mapping[str, str | None]:
        """See `Topology.health_urls`."""
        return self.topology.health_urls

    @cached_property
    def metrics_urls(self) -> Mapping[str, str | None]:
        """See `Topology.metrics_urls`."""
        return self.topology.metrics_urls

    @cached_property
    def ranks(self) -> Mapping[str, tuple[str, ...]]:
        """See `Topology.ranks`."""
        return self.topology.ranks

    @cached_property
    def options(self) -> Mapping[str, tuple[Option, ...]]:
        """Model -> the replicas that can be reached for it."""
        return {model.name: tuple(self._options(model)) for model in self.topology.models.values()}

    def _options(self, model: Model) -> Iterator[Option]:
        for target in model.targets:
            for replica in target.pool.replicas:
                if replica.name in self.addresses:
                    yield Option(replica.name, target.pool.name, replica.weight, target.cost_per_1k_input)

    def find(self, model: Model, replica: str, pool: str) -> tuple[Target, Replica]:
        """The configured replica behind an option.

        Raises:
            LookupError: there is none.
        """
        for target in model.targets:
            if target.pool.name == pool:
                for each in target.pool.replicas:
                    if each.name == replica:
                        return target, each
        raise LookupError(f"{replica} is not in pool {pool}")


class Catalog:
    """Holds the current directory. A request reads `current` once and keeps what it read."""

    def __init__(self, directory: Directory) -> None:
        self.current = directory

"""`data_parallel_size` of the configuration -> how many ranks each replica has."""

from __future__ import annotations

from .addresses import Address, address_of, replica_urls
from .errors import ConfigError, Problem
from .settings import Settings
from .topology import host_port


def ranks_of(settings: Settings) -> dict[Address, int]:
    """Data-parallel ranks of each replica, by its address.

    Raises:
        ConfigError: a replica that is listed twice has two numbers of ranks.
    """
    urls = replica_urls(settings)
    problems: list[Problem] = []
    ranks: dict[Address, int] = {}
    for index, provider in enumerate(settings.providers):
        for replica in urls[provider.name]:
            address, size = address_of(replica.url), provider.ranks_of(replica)
            known = ranks.setdefault(address, size)
            if known != size:
                text = f"{host_port(*address)} has {known} data-parallel ranks elsewhere, {size} here"
                problems.append(Problem(("providers", index), text))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return ranks

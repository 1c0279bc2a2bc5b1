"""Replica host names -> IP addresses, which is what Envoy's endpoints and its access log speak of."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Mapping

from extproc.config.topology import Replica

log = logging.getLogger(__name__)

Address = tuple[str, int]


async def resolve(replicas: Mapping[str, Replica], known: Mapping[str, Address]) -> dict[str, Address]:
    """The address of every replica; one that cannot be resolved keeps the address it had, or is left out.

    A name with several addresses stands for one replica at the first of them, IPv4 before IPv6; as long as the known
    address is among them it is kept, since a new address means a new Envoy endpoint with cold connections.
    """
    found = await asyncio.gather(*(_resolve_one(replica, known.get(replica.name)) for replica in replicas.values()))
    return {name: address for name, address in zip(replicas, found, strict=True) if address is not None}


async def _resolve_one(replica: Replica, known: Address | None) -> Address | None:
    try:
        return str(ipaddress.ip_address(replica.host)), replica.port
    except ValueError:
        pass
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(replica.host, replica.port, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("replica %s: %s does not resolve: %s", replica.name, replica.host, error)
        return known
    addresses = [(str(answer[4][0]), replica.port) for answer in sorted(answers, key=lambda a: a[0] != socket.AF_INET)]
    return known if known in addresses else addresses[0]

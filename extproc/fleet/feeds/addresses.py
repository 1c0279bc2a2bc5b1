"""Host names of replicas and KV servers -> IP addresses, which is what Envoy's endpoints and access log speak of."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Mapping
from typing import Protocol

log = logging.getLogger(__name__)

Address = tuple[str, int]


class Peer(Protocol):
    """Whoever has an address."""

    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


async def resolve(peers: Mapping[str, Peer], known: Mapping[str, Address]) -> dict[str, Address]:
    """The address of every peer; one that cannot be resolved keeps the address it had, or is left out.

    A name with several addresses stands for one peer at the first of them, IPv4 before IPv6; as long as the known
    address is among them it is kept, since a new address means a new Envoy endpoint with cold connections. Peers of the
    same host and port, such as the data-parallel ranks of a process, have the same address.
    """
    places: dict[tuple[str, int], list[str]] = {}
    for name, peer in peers.items():
        places.setdefault((peer.host, peer.port), []).append(name)
    before = [next((known[name] for name in names if name in known), None) for names in places.values()]
    alike = [peers[names[0]] for names in places.values()]
    found = await asyncio.gather(*map(_resolve_one, alike, before))
    address_of = dict(zip(places, found, strict=True))
    addresses = {name: address_of[peer.host, peer.port] for name, peer in peers.items()}
    return {name: address for name, address in addresses.items() if address is not None}


async def _resolve_one(peer: Peer, known: Address | None) -> Address | None:
    try:
        return str(ipaddress.ip_address(peer.host)), peer.port
    except ValueError:
        pass
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("%s: %s does not resolve: %s", peer.name, peer.host, error)
        return known
    addresses = [(str(answer[4][0]), peer.port) for answer in sorted(answers, key=lambda a: a[0] != socket.AF_INET)]
    return known if known in addresses else addresses[0]

"""The cache index as a list, for people who look: hashes and who holds them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from extproc.fleet.index import CacheIndex

_HASH_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks that follow each other in every known prompt that has them.

    Args:
        hash: of the last of them, in hexadecimal; it names all in front of it, too.
        parent: that of the run in front; empty if it begins a prompt.
        first_block, end_block: in front of it, and with it.
        tokens: of the run.
        replicas: that hold or compute all of it.
        claims: requests in flight that use or compute it.
    """

    hash: str
    parent: str
    first_block: int
    end_block: int
    tokens: int
    replicas: tuple[str, ...]
    claims: int


def runs(index: CacheIndex) -> Iterator[Run]:
    """Breadth first: what prompts have in common comes before what tells them apart."""
    names = index.names
    nodes = deque((node, "") for node in index.tree.root.children.values())
    while nodes:
        node, parent = nodes.popleft()
        name = f"{node.last & _HASH_BITS:016x}"
        holders = tuple(replica for bit, replica in names.items() if node.mask & bit)
        yield Run(name, parent, node.start, node.end, node.tokens(len(node)), holders, node.claims)
        nodes.extend((child, name) for child in node.children.values())


def beginnings(index: CacheIndex) -> int:
    """Different first blocks of prompts."""
    return len(index.tree.root.children)

"""The known prompts as a compressed prefix tree.

A node is a run of blocks that nothing known departs from. Hashes are chained: equal at one place, two prompts are equal
in front of it. So one comparison, of the last hash, matches a node of any length, and a bisection finds where a prompt
departs from it.

What any replica holds or is computing is a prefix of the tree: whoever has a node has its parent, whole. A node is as
long as its longest holding, and there is no node that nobody has.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise

from extproc.fleet.recency import Entry
from extproc.prefix import Chain


class Holding(Entry):
    """What one replica has of one node: a leading part, as the tail is evicted first.

    Attributes:
        held: leading blocks of the node that are in the replica's cache.
        claims: requests in flight that use or compute the whole node.
        further: what is held behind the node and has no name.
    """

    __slots__ = ("claims", "further", "held", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.held = 0
        self.claims = 0
        self.further: Further | None = None
        self.stamp = 0
        self.used_s = 0.0

    @property
    def depth(self) -> int:
        return self.node.start


class Further(Entry):
    """Tokens behind a prompt's last block that nobody can look up: its partial block and the generated answer."""

    __slots__ = ("above", "tokens")

    def __init__(self, above: Holding, tokens: int, stamp: int, used_s: float) -> None:
        self.above = above
        self.tokens = tokens
        self.stamp = stamp
        self.used_s = used_s

    @property
    def depth(self) -> int:
        return self.above.node.end


class Node:
    """A run of blocks.

    Attributes:
        hashes: of its blocks.
        ends: tokens from the beginning of the prompt to the end of each block.
        before: tokens in front of the first block.
        start, end: blocks in front of it, and those with it.
        last: the last hash.
        mask: bits of the replicas that hold or compute all of it.
        partial: bits of those that hold only a leading part.
        holdings: by the number of the replica's bit.
        claims: requests in flight that use or compute it, on any replica.
    """

    __slots__ = (
        "before",
        "children",
        "claims",
        "end",
        "ends",
        "hashes",
        "holdings",
        "last",
        "mask",
        "parent",
        "partial",
        "start",
    )

    def __init__(self, parent: Node | None, hashes: array[int], ends: array[int], start: int, before: int) -> None:
        self.parent = parent
        self.start = start
        self.before = before
        self.children: dict[int, Node] = {}
        self.holdings: dict[int, Holding] = {}
        self.mask = 0
        self.partial = 0
        self.claims = 0
        self.cover(hashes, ends)

    def __len__(self) -> int:
        return len(self.hashes)

    def cover(self, hashes: array[int], ends: array[int]) -> None:
        """Consists of these blocks from now on."""
        self.hashes = hashes
        self.ends = ends
        self.end = self.start + len(hashes)
        self.last = hashes[-1] if hashes else 0

    def tokens(self, blocks: int) -> int:
        """Tokens of its leading blocks."""
        return self.ends[blocks - 1] - self.before if blocks else 0

    def has_elsewhere(self, bits: int, blocks: int) -> bool:
        """Whether somebody who has none of these bits has more than so many of its blocks."""
        if self.mask & ~bits:
            return True
        return any(holding.held > blocks and not bits >> slot & 1 for slot, holding in self.holdings.items())

    def longest(self, bits: int) -> int:
        """Leading blocks that somebody who has none of these bits has."""
        if self.mask & ~bits:
            return len(self)
        return max((holding.held for slot, holding in self.holdings.items() if not bits >> slot & 1), default=0)

    def shared(self, hashes: Sequence[int]) -> int:
        """Leading blocks in common with a prompt that has the first of them, but not all."""
        mine, start = self.hashes, self.start
        least, most = 1, min(len(mine) - 1, len(hashes) - start)
        while least < most:
            middle = (least + most + 1) // 2
            if hashes[start + middle - 1] == mine[middle - 1]:
                least = middle
            else:
                most = middle - 1
        return least


class PrefixTree:
    """Nodes by the chains that lead to them.

    Attributes:
        blocks: distinct ones known.
        tiers: bits of those who are no replicas but tiers behind them.
        remote: of these, the bits of remote tiers.
    """

    def __init__(self) -> None:
        self.root = Node(None, array("Q"), array("Q"), 0, 0)
        self.blocks = 0
        self.tiers = 0
        self.remote = 0

    def path(self, chain: Chain) -> list[Node]:
        """The nodes that make up a chain, from its head; makes those that are missing.

        The last one ends where the chain does. The caller must give each new node a holding.
        """
        hashes, total = chain.hashes, len(chain.hashes)
        path: list[Node] = []
        node = self.root
        while node.end < total:
            child = node.children.get(hashes[node.end])
            if child is None:
                child = self._grow(node, chain)
            elif child.end > total or hashes[child.end - 1] != child.last:
                child = self._split(child, child.shared(hashes))
            path.append(child)
            node = child
        return path

    def find(self, chain: Chain, block: int) -> Node | None:
        """The node that has the block at this place of a chain; None if it is unknown."""
        hashes = chain.hashes
        node = self.root
        while node.end <= block:
            child = node.children.get(hashes[node.end])
            if child is None:
                return None
            known = child.hashes[block - child.start] if child.end > block else child.last
            if known != hashes[min(block, child.end - 1)]:
                return None
            node = child
        return node

    def settle(self, node: Node) -> None:
        """Forgets the blocks of a node that no replica has any more."""
        if node.mask:
            return
        longest = max((holding.held for holding in node.holdings.values()), default=0)
        self.blocks -= len(node) - longest
        if not longest:
            assert node.parent is not None
            del node.parent.children[node.hashes[0]]
            return
        node.cover(node.hashes[:longest], node.ends[:longest])
        for slot, holding in node.holdings.items():
            if holding.held == longest:
                node.mask |= 1 << slot
        node.partial &= ~node.mask

    def join(self, path: Sequence[Node]) -> None:
        """Makes one node of neighbours on a path that nothing tells apart any more.

        A conversation is stored turn by turn: without this it would be a node a turn for ever.
        """
        for upper, lower in pairwise(path):
            if len(upper.children) == 1 and _alike(upper, lower):
                self._absorb_parent(lower)

    def _grow(self, parent: Node, chain: Chain) -> Node:
        start = parent.end
        before = parent.ends[-1] if parent.ends else 0
        ends = list(accumulate(chain.weights[start:], initial=before))
        node = Node(parent, array("Q", chain.hashes[start:]), array("Q", ends[1:]), start, before)
        parent.children[chain.hashes[start]] = node
        self.blocks += len(node)
        return node

    def _split(self, lower: Node, blocks: int) -> Node:
        """Cuts the leading blocks off into a new parent. The lower part stays the node that it was."""
        assert lower.parent is not None
        hashes, ends = lower.hashes, lower.ends
        upper = Node(lower.parent, hashes[:blocks], ends[:blocks], lower.start, lower.before)
        lower.parent.children[hashes[0]] = upper
        upper.children[hashes[blocks]] = lower
        upper.claims = lower.claims
        lower.parent = upper
        lower.start, lower.before = upper.end, ends[blocks - 1]
        lower.cover(hashes[blocks:], ends[blocks:])
        for slot, holding in list(lower.holdings.items()):
            bit = 1 << slot
            if holding.claims or holding.held >= blocks:
                upper.mask |= bit
            else:
                upper.partial |= bit
            if holding.claims or holding.held > blocks:
                upper.holdings[slot] = _cut(holding, upper)
            else:
                del lower.holdings[slot]
                lower.partial &= ~bit
                holding.node = upper
                upper.holdings[slot] = holding
        return upper

    def _absorb_parent(self, lower: Node) -> None:
        upper = lower.parent
        assert upper is not None and upper.parent is not None
        upper.parent.children[upper.hashes[0]] = lower
        lower.parent = upper.parent
        lower.start, lower.before = upper.start, upper.before
        for slot, holding in lower.holdings.items():
            above = upper.holdings[slot]
            above.unlink()
            holding.held += above.held
        lower.cover(upper.hashes + lower.hashes, upper.ends + lower.ends)


def _cut(lower: Holding, node: Node) -> Holding:
    """The part of a holding that is in the new parent of its node; the place in the order of use is the same."""
    upper = Holding(node)
    upper.held = min(lower.held, len(node))
    lower.held -= upper.held
    upper.claims, upper.stamp, upper.used_s = lower.claims, lower.stamp, lower.used_s
    upper.file_after(lower)
    return upper


def _alike(upper: Node, lower: Node) -> bool:
    """Whether all that have the one have the other, last used by the same calls and claimed by the same requests."""
    if upper.partial or len(upper.holdings) != len(lower.holdings):
        return False
    for slot, below in lower.holdings.items():
        above = upper.holdings[slot]
        if above.stamp != below.stamp or above.used_s != below.used_s:
            return False
        if above.claims != below.claims or above.further is not None:
            return False
    return True

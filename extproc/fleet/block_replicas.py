"""The replicas of the block index: their bits in masks, the layers that they have blocks in, and what they claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from extproc.fleet.block_layer import Layer
from extproc.fleet.block_names import BlockNames
from extproc.fleet.kv_events import GPU, HOST, FeedState

LayerId = tuple[str, int, bool]
"""Medium, block size, and whether its ids are LMCache's."""


@dataclass(eq=False, slots=True)
class BlockReplica:
    """What one feed has said.

    Args:
        bit: in the masks of all layers.
        media: names of the blocks that it holds, by medium.
        domain: of the host tier behind it; empty: it is its own.
        block_size: tokens in a block of its own cache; None if not known.
        state: None before the feed was begun with.
        claims: by block size, how many requests in flight will have it hold each key.
    """

    bit: int
    media: dict[str, BlockNames] = field(default_factory=dict)
    domain: str = ""
    block_size: int | None = None
    state: FeedState | None = None
    claims: dict[int, Counter[int]] = field(default_factory=dict)

    @property
    def blocks(self) -> int:
        """All that is remembered of it, in any medium."""
        return sum(map(len, self.media.values()))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request in flight is computing on a replica; given back with `release`."""

    owner: BlockReplica
    block_size: int
    keys: tuple[int, ...]


class BlockReplicas:
    """All replicas by name, and the layers by what they are of. A layer without members is given up.

    Attributes:
        layers: in the order in which they came up.
    """

    def __init__(self) -> None:
        self.layers: dict[LayerId, Layer] = {}
        self._replicas: dict[str, BlockReplica] = {}
        self._names: dict[int, str] = {}

    def __iter__(self) -> Iterator[tuple[str, BlockReplica]]:
        return iter(self._replicas.items())

    def get(self, name: str) -> BlockReplica | None:
        """None if nothing was ever said of it."""
        return self._replicas.get(name)

    def known(self, name: str) -> BlockReplica:
        """The replica of that name, with the lowest bit that is free if it is new."""
        replica = self._replicas.get(name)
        if replica is None:
            taken = sum(self._names)
            replica = self._replicas[name] = BlockReplica(~taken & (taken + 1))
            self._names[replica.bit] = name
        return replica

    def named(self, mask: int) -> Iterator[str]:
        """Names of the replicas in a mask."""
        while mask:
            bit = mask & -mask
            yield self._names[bit]
            mask ^= bit

    def layer(self, which: LayerId) -> Layer:
        return self.layers.setdefault(which, Layer())

    def sharing(self, layer: Layer) -> Iterator[int]:
        """Masks of the replicas that share a host tier."""
        domains: dict[str, int] = {}
        for replica in self._replicas.values():
            if replica.domain:
                domains[replica.domain] = domains.get(replica.domain, 0) | replica.bit
            elif replica.bit & layer.members:
                yield replica.bit
        yield from domains.values()

    def host_block_sizes(self) -> dict[str, int]:
        """By replica, as its own feed says, or that of another that shares its host tier."""
        own = {name: each.media[HOST].block_size for name, each in self._replicas.items() if HOST in each.media}
        shared = {self._replicas[name].domain: size for name, size in own.items()}
        return own | {
            name: shared[each.domain]
            for name, each in self._replicas.items()
            if each.domain in shared and each.domain and name not in own
        }

    def claim(self, replica: BlockReplica, block_size: int, keys: tuple[int, ...]) -> Claim:
        """A request in flight will have the replica hold these blocks."""
        claim = Claim(replica, block_size, keys)
        if not keys:
            return claim
        layer = self.layer((GPU, block_size, False))
        layer.members |= replica.bit
        counts = replica.claims.setdefault(block_size, Counter())
        for key in keys:
            if not counts[key]:
                layer.claim(key, replica.bit)
            counts[key] += 1
        return claim

    def awaits(self, claim: Claim) -> bool:
        """Whether the replica has yet to report the last of these blocks."""
        layer = self.layers.get((GPU, claim.block_size, False))
        return bool(claim.keys) and layer is not None and layer.promised(claim.keys[-1], claim.owner.bit)

    def release(self, claim: Claim) -> None:
        """Undoes a claim, unless its replica is gone."""
        replica = claim.owner
        counts = replica.claims.get(claim.block_size)
        if counts is None:
            return
        layer = self.layer((GPU, claim.block_size, False))
        for key in claim.keys:
            if counts[key] > 1:
                counts[key] -= 1
            else:
                del counts[key]
                layer.release(key, replica.bit)
        if not counts:
            del replica.claims[claim.block_size]
            self.leave_layers(replica)

    def clear(self, replica: BlockReplica) -> None:
        """Forgets what the feed said. What requests in flight claim stays."""
        for names in replica.media.values():
            names.clear()
        replica.media.clear()
        self.leave_layers(replica)

    def forget(self, name: str) -> None:
        """The replica is gone, with all that was known of it and its claims."""
        gone = self._replicas.pop(name, None)
        if gone is None:
            return
        for size, counts in gone.claims.items():
            layer = self.layer((GPU, size, False))
            for key in counts:
                layer.release(key, gone.bit)
        gone.claims.clear()
        self.clear(gone)
        del self._names[gone.bit]

    def leave_layers(self, replica: BlockReplica) -> None:
        """Takes a replica out of the layers where it has nothing any more."""
        kept = [names.layer for names in replica.media.values()]
        kept += [self.layer((GPU, size, False)) for size in replica.claims]
        for which, layer in list(self.layers.items()):
            if not any(layer is each for each in kept):
                layer.members &= ~replica.bit
                if not layer.members:
                    del self.layers[which]

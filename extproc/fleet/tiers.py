"""Tiers behind the replicas' own caches, where engines keep what their GPUs evict: memory of their host, LMCache's for
example, and a store behind all hosts, such as Redis.

What a replica computes is written through to its tiers at once, so a tier holds the latest that its replicas have
served, least recently used first to go. An engine that continues a prompt there restores it instead of computing it,
from the nearest that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

from extproc.config.topology import TierKind
from extproc.fleet.capacity import Capacity
from extproc.fleet.shadow import Shadow

_DEPTH: Mapping[str, int] = {kind: depth for depth, kind in enumerate(get_args(TierKind))}


class Behind(NamedTuple):
    """A tier behind a replica, as one prompt finds it.

    Args:
        tokens: of the prompt that it holds, behind those that the replica and the nearer tiers hold.
        tokens_per_s: how fast the replica gets them back.
        lasting_tokens: of those that it would restore from there, each shared out among the prompts that begin with it.
        retrieval_chance: probability that what the replica's own cache evicts is used again while this tier still has
            it, and no nearer one.
    """

    kind: TierKind
    tokens: int
    tokens_per_s: float
    lasting_tokens: float = 0.0
    retrieval_chance: float = 0.0


class Tier:
    """One tier and what it is believed to hold.

    Args:
        domain: names it among those of its kind; the replicas of one domain share it.
        shadow: of its contents.

    Attributes:
        replicas: that it is behind.
    """

    __slots__ = ("_capacity", "domain", "kind", "replicas", "shadow")

    def __init__(self, kind: TierKind, domain: str, shadow: Shadow) -> None:
        self.kind = kind
        self.domain = domain
        self.shadow = shadow
        self.replicas: set[str] = set()
        self._capacity = Capacity()

    @property
    def tokens(self) -> int:
        """Tokens that it is believed to hold."""
        return self.shadow.tokens

    @property
    def capacity_tokens(self) -> int | None:
        """Prompt tokens that it is believed to have room for."""
        return self._capacity.tokens

    def report(self, tokens: int) -> None:
        """So many tokens fit, as it is said; a new figure replaces what was learned under the old one."""
        self._capacity.report(tokens)
        self._resize()

    def too_large(self) -> None:
        """It had evicted what was believed to be there, and what of that is left may be all that fits."""
        self._capacity.too_high(self.shadow.tokens)
        self._resize()

    def too_small(self) -> None:
        """It still had what was believed to be evicted."""
        self._capacity.too_low()
        self._resize()

    def _resize(self) -> None:
        self.shadow.capacity = self._capacity.tokens
        self.shadow.evict()


class Tiers:
    """Which tiers are behind which replica. One that is behind none is given up.

    Attributes:
        behind: tiers by replica, the nearest first; replicas that have none are left out.
        by_bit: tiers by their shadows' bits.
    """

    def __init__(self) -> None:
        self.behind: dict[str, tuple[Tier, ...]] = {}
        self.by_bit: dict[int, Tier] = {}
        self._by_name: dict[tuple[TierKind, str], Tier] = {}

    def find(self, kind: TierKind, domain: str) -> Tier | None:
        """None if there is none of that name."""
        return self._by_name.get((kind, domain))

    def add(self, kind: TierKind, domain: str, shadow: Shadow) -> Tier:
        """A new tier, behind no replica yet."""
        tier = self._by_name[kind, domain] = self.by_bit[shadow.bit] = Tier(kind, domain, shadow)
        return tier

    def put_behind(self, replica: str, kind: TierKind, tier: Tier | None) -> Shadow | None:
        """From now on, this is the replica's tier of its kind, or it has none.

        Returns:
            The shadow of the tier that was there before, if it is behind no other: nobody asks for it any more.
        """
        tiers = {each.kind: each for each in self.behind.pop(replica, ())}
        before = tiers.pop(kind, None)
        if before is not None:
            before.replicas.remove(replica)
        if tier is not None:
            tier.replicas.add(replica)
            tiers[kind] = tier
        if tiers:
            self.behind[replica] = tuple(sorted(tiers.values(), key=lambda each: _DEPTH[each.kind]))
        if before is None or before.replicas:
            return None
        del self._by_name[before.kind, before.domain]
        del self.by_bit[before.shadow.bit]
        return before.shadow

    def matched(self, held: Mapping[Tier, int]) -> dict[TierKind, dict[str, int]]:
        """Leading prompt tokens that each tier holds -> those that each replica has behind it, by kind of tier."""
        behind: dict[TierKind, dict[str, int]] = {}
        for tier, tokens in held.items():
            found = behind.get(tier.kind)
            if found is None:
                found = behind[tier.kind] = {}
            for replica in tier.replicas:
                found[replica] = tokens
        return behind

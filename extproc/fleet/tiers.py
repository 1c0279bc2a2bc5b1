"""Host tiers: where engines keep what their GPUs evict, LMCache in CPU memory for example.

What a replica computes is written through to its tier at once, so a tier holds the latest that its replicas have
served, least recently used first to go. An engine that continues a prompt there restores it instead of computing it.
"""

from __future__ import annotations

from extproc.fleet.capacity import Capacity
from extproc.fleet.shadow import Shadow


class Tier:
    """One host tier and what it is believed to hold.

    Args:
        domain: names it; the replicas of one domain share it.
        shadow: of its contents.
    """

    __slots__ = ("_capacity", "domain", "shadow")

    def __init__(self, domain: str, shadow: Shadow) -> None:
        self.domain = domain
        self.shadow = shadow
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
    """Which tier is behind which replica. One that is behind none is given up.

    Attributes:
        behind: tiers by replica.
        domains: names of the tiers by their shadows' bits.
    """

    def __init__(self) -> None:
        self.behind: dict[str, Tier] = {}
        self.domains: dict[int, str] = {}
        self._by_domain: dict[str, Tier] = {}

    def of_domain(self, domain: str) -> Tier | None:
        """None if there is none of that name."""
        return self._by_domain.get(domain)

    def add(self, domain: str, shadow: Shadow) -> Tier:
        """A new tier, behind no replica yet."""
        tier = self._by_domain[domain] = Tier(domain, shadow)
        self.domains[shadow.bit] = domain
        return tier

    def put_behind(self, replica: str, tier: Tier | None) -> Shadow | None:
        """From now on, this tier is behind the replica, or none.

        Returns:
            The shadow of the tier that was behind it, if it is behind no other: nobody asks for it any more.
        """
        before = self.behind.pop(replica, None)
        if tier is not None:
            self.behind[replica] = tier
        if before is None or any(each is before for each in self.behind.values()):
            return None
        del self._by_domain[before.domain]
        del self.domains[before.shadow.bit]
        return before.shadow

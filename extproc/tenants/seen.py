"""What this instance last saw of the spend in Redis: tells a Redis that has restarted empty what it knew."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from extproc.tenants.memory import Owner


class Seen(NamedTuple):
    """Nano-dollars spent in the window that ends then (Unix time, us); the generation counts resets."""

    nusd: int
    ends_us: int
    generation: int


NOTHING = Seen(0, 0, 0)


class SeenSpend:
    """The views of all scopes whose window is not over."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Owner, tuple[int, Seen]] = OrderedDict()

    def of(self, owner: Owner, now_us: float) -> Seen:
        """What was seen of the window that is now."""
        _, seen = self._seen.get(owner, (0, NOTHING))
        return seen if seen.ends_us > now_us else NOTHING

    def learn(self, owner: Owner, seen: Seen, at_us: int) -> None:
        """Takes in how it was at that time, unless something later is known. Some that are over are forgotten."""
        known_at_us, _ = self._seen.get(owner, (0, NOTHING))
        if at_us >= known_at_us:
            self._seen[owner] = at_us, seen
        for old in [old for old, _ in zip(self._seen, range(2), strict=False)]:
            if self._seen[old][1].ends_us <= at_us:
                del self._seen[old]
            else:
                self._seen.move_to_end(old)

    def forget(self, owner: Owner) -> None:
        """After a reset."""
        self._seen.pop(owner, None)

    def tenants(self, now_us: float) -> dict[str, int]:
        """What each tenant has spent, keys left out."""
        return {tenant: s.nusd for (tenant, key), (_, s) in self._seen.items() if not key and s.ends_us > now_us}

"""The tiers behind a replica -> what it would restore of a prompt, and how likely each gives back what is evicted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from extproc.fleet.lookup import Lookup
from extproc.fleet.replica import ReplicaState
from extproc.fleet.state import Fleet
from extproc.fleet.tiers import Behind, Tier

LIFETIME_MARGIN = 4.0
"""How much shorter than lately the time may get for which a cache keeps what is idle: load comes in waves."""

_NOBODY: Mapping[str, int] = MappingProxyType({})


class Lasting(dict[int, float]):
    """The lasting tokens of a prompt behind a match of so many, each reckoned once; see `Lookup.lasting_tokens`."""

    def __init__(self, lookup: Lookup, prompt_tokens: int) -> None:
        self._lookup = lookup
        self._prompt_tokens = prompt_tokens

    def __missing__(self, matched_tokens: int) -> float:
        lasting = self[matched_tokens] = self._lookup.lasting_tokens(matched_tokens, self._prompt_tokens)
        return lasting


class Backing:
    """What is behind replicas, as one prompt finds it now.

    Args:
        model: restore rates are known by model.
    """

    def __init__(self, fleet: Fleet, lookup: Lookup, lasting: Lasting, model: str, now_s: float) -> None:
        self._fleet = fleet
        self._reuse = fleet.index.reuse
        self._held = lookup.behind
        self._lasting = lasting
        self._model = model
        self._now_s = now_s

    def of(
        self,
        replica: ReplicaState,
        tiers: tuple[Tier, ...],
        matched_tokens: int,
        tokens_per_s: float,
        lifetime_s: float,
    ) -> tuple[float, tuple[Behind, ...]]:
        """The tiers behind a replica, and the lasting tokens that it must compute all the same.

        Args:
            matched_tokens: that its own cache has.
            tokens_per_s: its prefill speed.
            lifetime_s: for how long its own cache keeps what is idle, with the margin.
        """
        reach, lasting, restoring = matched_tokens, self._lasting[matched_tokens], True
        chance, retrieved = self._reuse.chance(lifetime_s), 0.0
        behind = []
        for tier in tiers:
            rate = self._fleet.restore_rate(replica, self._model, tier.kind).tokens_per_s
            tokens = max(0, self._held.get(tier.kind, _NOBODY).get(replica.name, 0) - reach)
            restored = retrieval = 0.0
            if tokens:
                reach += tokens
                restoring = restoring and rate > tokens_per_s
                if restoring:
                    restored = max(0.0, lasting - self._lasting[reach])
                    lasting -= restored
            kept_s = tier.shadow.lifetime_s(self._now_s) / LIFETIME_MARGIN
            if kept_s > lifetime_s:
                lifetime_s = kept_s
                retrieval = max(0.0, used_before(chance, self._reuse.chance(kept_s)) - retrieved)
                retrieved += retrieval
            behind.append(Behind(tier.kind, tokens, rate, restored, retrieval))
        return lasting, tuple(behind)


def used_before(chance: float, later_chance: float) -> float:
    """Probability that what is idle is used again before it has been so for a longer time.

    Args:
        chance: that it is used again at all.
        later_chance: the same of what has been idle for the longer time.

    Of a share s that gets there, later_chance is used: 1 - chance = s * (1 - later_chance).
    """
    if later_chance >= chance:
        return 0.0
    reaching = (1 - chance) / (1 - later_chance)
    return chance - reaching * later_chance

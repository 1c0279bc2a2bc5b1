"""How likely it is that cached tokens which have been idle for so long are used again: what evicting them costs.

Of the tokens whose idle time got as long as a seconds, in a cache or after their eviction from it,

    chance(a) = used again / (used again + not used again so far)

Evicted runs of blocks are remembered by name, so that it is noticed when a prompt comes that would have found them: a
fleet whose caches are too small for what it serves finds its chance high, not low. What a tier keeps longer counts as
idle until it goes from there, too: from the last that has it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

_FIRST_OCTAVE = -2  # up to a quarter of a second
_OCTAVES = 18  # up to 18 hours
_PRIOR_TOKENS = 20_000.0
_PRIOR_CHANCE = 0.2
_MEMORY_TOKENS = 20_000_000.0
"""When so many were counted, all counts are halved: habits change."""
_MAX_GHOSTS = 20_000


class Reuse:
    """Idle times of the fleet's cached tokens, by octave of time."""

    def __init__(self) -> None:
        self._used = [0.0] * _OCTAVES
        self._unused = [0.0] * _OCTAVES
        self._total = 0.0
        self._chances: tuple[float, ...] = ()
        # first hash of an evicted run -> blocks, tokens, last use, octave under which it counts as unused
        self._ghosts: OrderedDict[int, tuple[int, int, float, int]] = OrderedDict()

    def used(self, idle_s: float, tokens: int) -> None:
        """Tokens were found in a cache after that time."""
        self._used[_octave(idle_s)] += tokens
        self._count(tokens)

    def evicted(self, run: Sequence[int], tokens: int, used_s: float, now_s: float) -> None:
        """Tokens were evicted.

        Args:
            run: hashes of their blocks, if no other cache has them; empty if they will not be missed or not be known.
            used_s: their last use.
        """
        octave = _octave(now_s - used_s)
        self._unused[octave] += tokens
        self._count(tokens)
        if run:
            self._ghosts[run[0]] = (len(run), tokens, used_s, octave)
            if len(self._ghosts) > _MAX_GHOSTS:
                self._ghosts.popitem(last=False)

    def lost(self, run: Sequence[int], tokens: int, used_s: float, now_s: float) -> None:
        """What GPUs had evicted before was kept in a tier, and is now evicted from there."""
        for block in run:
            if (ghost := self._ghosts.pop(block, None)) is not None:
                self._unused[ghost[3]] = max(0.0, self._unused[ghost[3]] - ghost[1])
        self.evicted(run, tokens, used_s, now_s)

    def missed(self, blocks: Sequence[int], now_s: float) -> None:
        """A prompt came whose blocks, from here on, no cache has."""
        at = 0
        while at < len(blocks) and (ghost := self._ghosts.pop(blocks[at], None)) is not None:
            run, tokens, used_s, octave = ghost
            self._unused[octave] = max(0.0, self._unused[octave] - tokens)
            self._used[_octave(now_s - used_s)] += tokens
            self._chances = ()
            at += run

    def chance(self, idle_s: float) -> float:
        """Probability, 0 to 1, that tokens idle for so long are used again."""
        if not self._chances:
            self._chances = self._added_up()
        return self._chances[_octave(idle_s)]

    def _added_up(self) -> tuple[float, ...]:
        """The chance for each octave."""
        chances = []
        used, known = _PRIOR_TOKENS * _PRIOR_CHANCE, _PRIOR_TOKENS
        for again, unused in zip(reversed(self._used), reversed(self._unused), strict=True):
            used += again
            known += again + unused
            chances.append(used / known)
        return tuple(reversed(chances))

    def _count(self, tokens: int) -> None:
        self._chances = ()
        self._total += tokens
        if self._total > _MEMORY_TOKENS:
            self._total /= 2
            self._used = [each / 2 for each in self._used]
            self._unused = [each / 2 for each in self._unused]


def _octave(idle_s: float) -> int:
    if not idle_s > 0:
        return 0
    if idle_s == math.inf:
        return _OCTAVES - 1
    return min(max(math.frexp(idle_s)[1] - _FIRST_OCTAVE, 0), _OCTAVES - 1)

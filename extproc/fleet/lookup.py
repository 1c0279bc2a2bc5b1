"""What a look-up in the cache index tells of a prompt."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple


class Lookup(NamedTuple):
    """What is known of a prompt.

    Args:
        tokens: leading prompt tokens that each replica holds or will; replicas that have none are left out.
        spans: of the known part, from its head: where it ends, in tokens, and how many others share it: requests in
            flight, or prompts known to continue it in another way.
        lasting: of each span and all behind it, the lasting tokens.
        behind: leading prompt tokens that the host tier behind each replica holds; replicas are left out that have no
            tier, or one that has none.
    """

    tokens: dict[str, int]
    spans: tuple[tuple[int, int], ...] = ()
    lasting: tuple[float, ...] = ()
    behind: Mapping[str, int] = MappingProxyType({})

    def lasting_tokens(self, matched_tokens: int, prompt_tokens: int) -> float:
        """The part that is computed anew behind a match, shared out among all who need it.

        A block that n others have in common counts 1 / (1 + n): a further copy of it will serve them, too. So what
        many prompts begin with may be computed again, and what belongs to one conversation should not.
        """
        known_tokens = self.spans[-1][0] if self.spans else 0
        unknown_tokens = max(0, prompt_tokens - max(matched_tokens, known_tokens))
        at = bisect_right(self.spans, (matched_tokens, sys.maxsize))
        if at == len(self.spans):
            return float(unknown_tokens)
        end, others = self.spans[at]
        behind = self.lasting[at + 1] if at + 1 < len(self.lasting) else 0.0
        return unknown_tokens + (end - matched_tokens) / (1 + others) + behind


def shared(
    path: list[tuple[int, int, int]], weights: tuple[int, ...]
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """The nodes of a path -> `spans` and `lasting` of a look-up."""
    if not path:
        return (), ()
    tokens = list(accumulate(weights[: path[-1][0]], initial=0))
    spans: list[tuple[int, int]] = []
    lasting: list[float] = []
    others, behind = 0, 0.0
    for place in range(len(path) - 1, -1, -1):
        end, claims, branches = path[place]
        start = path[place - 1][0] if place else 0
        others += branches
        sharers = claims if claims > others else others
        behind += (tokens[end] - tokens[start]) / (1 + sharers)
        spans.append((tokens[end], sharers))
        lasting.append(behind)
    spans.reverse()
    lasting.reverse()
    return tuple(spans), tuple(lasting)

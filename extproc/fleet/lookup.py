"""What a look-up in the cache index tells of a prompt."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from extproc.config.topology import TierKind
from extproc.fleet.tree import Node
from extproc.prefix import Chain

_Name = TypeVar("_Name")


class Lookup(NamedTuple):
    """What is known of a prompt.

    Args:
        tokens: leading prompt tokens that each replica holds or will; replicas that have none are left out.
        spans: of the known part, from its head: where it ends, in tokens, and how many others share it: requests in
            flight, or prompts known to continue it in another way.
        lasting: of each span and all behind it, the lasting tokens.
        behind: leading prompt tokens that the tier behind each replica holds, by kind of tier; replicas are left out
            that have no such tier, or one that has none.
    """

    tokens: dict[str, int]
    spans: tuple[tuple[int, int], ...] = ()
    lasting: tuple[float, ...] = ()
    behind: Mapping[TierKind, Mapping[str, int]] = MappingProxyType({})

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


def shared(path: list[Node], chain: Chain) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """The nodes that a prompt passes -> `spans` and `lasting` of a look-up."""
    if not path:
        return (), ()
    hashes, last = chain.hashes, path[-1]
    known = last.end
    if departs := known > len(hashes) or hashes[known - 1] != last.last:
        known = last.start + last.shared(hashes)
    continued = known < len(hashes) and not departs and hashes[known] in last.children
    # Continuations other than ours; a node that we depart from has its own.
    others = max(1, len(last.children)) if departs else len(last.children) - continued
    tokens = list(accumulate(chain.weights[:known], initial=0))
    spans: list[tuple[int, int]] = []
    lasting: list[float] = []
    end_tokens, behind = tokens[known], 0.0
    for node in reversed(path):
        if node is not last:
            others += len(node.children) - 1
        sharers = node.claims if node.claims > others else others
        start_tokens = tokens[node.start]
        behind += (end_tokens - start_tokens) / (1 + sharers)
        spans.append((end_tokens, sharers))
        lasting.append(behind)
        end_tokens = start_tokens
    spans.reverse()
    lasting.reverse()
    return tuple(spans), tuple(lasting)


def named(
    ended: list[tuple[int, int]], weights: tuple[int, ...], names: dict[int, _Name], bits: int
) -> dict[_Name, int]:
    """Tokens by name, of those who have these bits, from blocks in ascending order; what comes later holds."""
    found: dict[_Name, int] = {}
    tokens = counted = 0
    for blocks, mask in ended:
        tokens += sum(weights[counted:blocks])
        counted = blocks
        if tokens:
            mask &= bits
            while mask:
                bit = mask & -mask
                found[names[bit]] = tokens
                mask ^= bit
    return found

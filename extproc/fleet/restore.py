"""How fast a replica gets tokens back from a tier behind it, learned from the first tokens that were seen.

    restore_s = restored_tokens / tokens_per_s

What was seen is a time to the first token; the part that is not restoring is taken to be as predicted. So only requests
teach that restore at least as much as they do otherwise, and as the rest is noise, one counts as at most a factor of 2
off. A new replica begins with the rate of the whole fleet, which counts as one sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from extproc.config.topology import TierKind

PRIOR_TOKENS_PER_S: Mapping[TierKind, float] = {"host": 60_000.0, "remote": 7_500.0}
"""At 128 KiB a token: an 8B model with grouped-query attention (32 layers of 8 heads of 128, keys and values, in 16
bits). Host: about 8 GB/s, half of what a PCIe 4.0 x16 link does in practice. Remote: about 1 GB/s, what is left of a
10 Gbit/s network's 1.25. That is less than the prior of the prefill speed: while neither is known, nobody is sent
anywhere for the sake of a store."""
_LEAST, _MOST = 100.0, 1e8
"""Bounds of what is believed, in tokens per second."""
_GAIN = 0.1
_HICCUP = 0.7
"""Bound of one sample's log error: a factor of 2."""
_FLOOR_S = 1e-4


class RestoreRate:
    """One replica's rate, for one kind of tier and one model.

    Args:
        tokens_per_s: where it begins: the rate of all replicas, or the prior.

    Attributes:
        tokens_per_s: restored.
        samples: first tokens that were learned from.
    """

    __slots__ = ("samples", "tokens_per_s")

    def __init__(self, tokens_per_s: float) -> None:
        self.tokens_per_s = tokens_per_s
        self.samples = 0

    def learn(self, restored_tokens: float, restore_s: float) -> None:
        """Takes one observation. A time that is not positive is a short one: the rest took longer than predicted."""
        if not (math.isfinite(restore_s) and math.isfinite(restored_tokens) and restored_tokens > 0):
            return
        error = math.log(max(restore_s, _FLOOR_S) * self.tokens_per_s / restored_tokens)
        self.samples += 1
        step = min(max(error, -_HICCUP), _HICCUP) * max(_GAIN, 1 / (self.samples + 1))
        self.tokens_per_s = min(max(self.tokens_per_s * math.exp(-step), _LEAST), _MOST)

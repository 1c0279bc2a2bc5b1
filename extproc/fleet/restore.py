"""How fast a replica gets tokens back from its host tier, learned from the first tokens that were seen.

    restore_s = restored_tokens / tokens_per_s

What was seen is a time to the first token; the part that is not restoring is taken to be as predicted. So only requests
teach that restore at least as much as they compute, and as the rest is noise, one counts as at most a factor of 2 off.
A new replica begins with the rate of the whole fleet, which counts as one sample.
"""

from __future__ import annotations

import math

PRIOR_TOKENS_PER_S = 60_000.0
"""About 8 GB/s, half of what a PCIe 4.0 x16 link does in practice, at 128 KiB a token: an 8B model with grouped-query
attention (32 layers of 8 heads of 128, keys and values, in 16 bits)."""
_LEAST, _MOST = 100.0, 1e8
"""Bounds of what is believed, in tokens per second."""
_GAIN = 0.1
_HICCUP = 0.7
"""Bound of one sample's log error: a factor of 2."""
_FLOOR_S = 1e-4


class RestoreRate:
    """One replica's rate.

    Args:
        kin: the rate of all replicas; where this one begins.

    Attributes:
        tokens_per_s: restored.
        samples: first tokens that were learned from.
    """

    __slots__ = ("samples", "tokens_per_s")

    def __init__(self, kin: RestoreRate | None = None) -> None:
        self.tokens_per_s: float = kin.tokens_per_s if kin else PRIOR_TOKENS_PER_S
        self.samples = 0

    def learn(self, restored_tokens: float, restore_s: float) -> None:
        """Takes one observation. A time that is not positive is a short one: the rest took longer than predicted."""
        if not (math.isfinite(restore_s) and math.isfinite(restored_tokens) and restored_tokens > 0):
            return
        error = math.log(max(restore_s, _FLOOR_S) * self.tokens_per_s / restored_tokens)
        self.samples += 1
        step = min(max(error, -_HICCUP), _HICCUP) * max(_GAIN, 1 / (self.samples + 1))
        self.tokens_per_s = min(max(self.tokens_per_s * math.exp(-step), _LEAST), _MOST)

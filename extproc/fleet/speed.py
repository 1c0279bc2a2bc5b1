"""How fast a replica gets to the first token, learned from the first tokens that were seen.

    ttft_s = base_s + work_tokens / tokens_per_s

`work_tokens` are the prompt tokens computed from the request's arrival to its first token: those queued ahead and its
own. Fitted by least squares on relative errors, so that a short prompt teaches as much as a long one, with exponential
forgetting. A sample counts as at most a bounded factor away from what was expected, so that one hiccup moves little;
when errors keep to one side, the replica has changed, and what was learned before is forgotten faster.

Two things keep a line where its samples leave it open: a fixed prior of hardly any weight, and its kin, the line of the
whole fleet, which counts as one sample. Without kin, a replica once taken for slow would get short prompts only, and
from those could never be seen to be fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

PRIOR_TOKENS_PER_S = 8000.0
"""About an 8B model on a mid-range GPU. Until there are samples only the ratio of work between replicas matters."""
PRIOR_BASE_S = 0.03
_PRIOR_WORK_TOKENS = 2000.0
_PRIOR_WEIGHT, _KIN_WEIGHT = 0.2, 1.0
"""In samples."""
_FORGET, _FORGET_FAST = 0.97, 0.8
"""What the past counts after one more sample: half after 23 of them, or after 3."""
_HICCUP, _CHANGE = 0.7, 2.5
"""Bounds of one sample's log error: a factor of 2, or of 12 once the replica is known to have changed."""
_FLOOR_S = 1e-4


class Speed:
    """One replica's line.

    Args:
        kin: the line of all replicas; where this one begins.

    Attributes:
        tokens_per_s: prefill speed.
        base_s: time to the first token with nothing to compute.
        samples: first tokens that were learned from.
        work_tokens: that the prompts were, an exponentially weighted mean.
    """

    __slots__ = ("_error", "_kin", "_leaning", "_sums", "base_s", "samples", "tokens_per_s", "work_tokens")

    def __init__(self, kin: Speed | None = None) -> None:
        self.tokens_per_s: float = kin.tokens_per_s if kin else PRIOR_TOKENS_PER_S
        self.base_s: float = kin.base_s if kin else PRIOR_BASE_S
        self.samples = 0
        self.work_tokens = _PRIOR_WORK_TOKENS
        self._kin = kin
        self._error = 0.3  # running means of the log error: its size,
        self._leaning = 0.0  # and which way it goes
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)  # of w, wx, wy, wxx, wxy

    def predict_s(self, work_tokens: float) -> float:
        """Seconds to the first token."""
        return self.base_s + work_tokens / self.tokens_per_s

    def learn(self, work_tokens: float, ttft_s: float) -> bool:
        """Takes one observation; False if it cannot be true."""
        if not (math.isfinite(ttft_s) and math.isfinite(work_tokens) and ttft_s > 0 and work_tokens >= 0):
            return False
        predicted_s = max(self.predict_s(work_tokens), _FLOOR_S)
        error = math.log(max(ttft_s, _FLOOR_S) / predicted_s)
        clipped = min(max(error, -1.0), 1.0)
        self._error += 0.15 * (abs(clipped) - self._error)
        self._leaning += 0.15 * (clipped - self._leaning)
        changed = abs(self._leaning) > 0.1 + 0.6 * self._error
        bound = _CHANGE if changed else _HICCUP
        taken_s = predicted_s * math.exp(min(max(error, -bound), bound))
        self.samples += 1
        self.work_tokens += (1 - _FORGET) * (work_tokens - self.work_tokens)
        self._add(work_tokens, taken_s, 1 / (predicted_s * taken_s), _FORGET_FAST if changed else _FORGET)
        self._fit()
        return True

    def _add(self, x: float, y: float, weight: float, forget: float) -> None:
        w, wx, wy, wxx, wxy = (forget * each for each in self._sums)
        self._sums = (w + weight, wx + weight * x, wy + weight * y, wxx + weight * x * x, wxy + weight * x * y)

    def _fit(self) -> None:
        w, wx, wy, wxx, wxy = self._sums
        for x, y, samples in self._anchors():
            weight = samples / max(y, self.predict_s(x), _FLOOR_S) ** 2
            w, wx, wy = w + weight, wx + weight * x, wy + weight * y
            wxx, wxy = wxx + weight * x * x, wxy + weight * x * y
        determinant = w * wxx - wx * wx
        slope = (w * wxy - wx * wy) / determinant if determinant > 0 else 1 / self.tokens_per_s
        base = (wy - slope * wx) / w
        if base < 0:
            base, slope = 0.0, wxy / wxx
        if slope <= 1e-9:
            slope, base = 1e-9, wy / w
        self.tokens_per_s = 1 / slope
        self.base_s = base

    def _anchors(self) -> Iterator[tuple[float, float, float]]:
        """Work, time and weight of what is presumed."""
        for x in (0.0, _PRIOR_WORK_TOKENS):
            yield x, PRIOR_BASE_S + x / PRIOR_TOKENS_PER_S, _PRIOR_WEIGHT
        if self._kin is not None:
            for x in (0.0, self._kin.work_tokens):
                yield x, self._kin.predict_s(x), _KIN_WEIGHT

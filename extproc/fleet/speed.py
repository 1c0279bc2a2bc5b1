"""How fast a replica gets to the first token, learned from the first tokens that were seen.

    ttft_s = base_s + work_tokens / tokens_per_s

`work_tokens` are the prompt tokens computed from the request's arrival to its first token: those queued ahead and its
own. Fitted by least squares on relative errors, so that a short prompt teaches as much as a long one, with exponential
forgetting. A sample counts as at most a bounded factor away from what was expected, so that one hiccup moves little;
when errors keep to one side, the replica has changed, and what was learned before is forgotten faster.

Two things hold a line where its samples leave it open: a fixed prior of hardly any weight, and its kin, the line of the
whole fleet. The kin counts for the more samples the more first tokens scatter: where times differ by more than replicas
do, it takes many of them to tell two replicas apart. Without kin, a replica once taken for slow would get short prompts
only, and from those could never be seen to be fast. So a line follows its kin even while its own replica is asked for
nothing, and what a replica showed once, while it warmed up for example, fades as the others are asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from weakref import WeakSet

PRIOR_TOKENS_PER_S = 8000.0
"""About an 8B model on a mid-range GPU. Until there are samples only the ratio of work between replicas matters."""
PRIOR_BASE_S = 0.03
_PRIOR_WORK_TOKENS = 2000.0
_PRIOR_WEIGHT = 0.2
"""In samples."""
_KIN_SPREAD = 0.2
"""By how much, as a share, replicas of one fleet are expected to differ. The mean of n samples that scatter by s is off
by s / sqrt(n): the kin weighs as much as (s / 0.2) squared of them, and no less than one."""
_FORGET, _FORGET_FAST = 0.97, 0.8
"""What the past counts after one more sample: half after 23 of them, or after 3."""
_FADE_TURNS = 100.0
"""Of a replica that is not asked: half after each of the others was so often."""
_HICCUP, _CHANGE = 0.7, 2.5
"""Bounds of one sample's log error: a factor of 2, or of 12 once the replica is known to have changed."""
_SHORT_SHARE = 0.2
"""Where the work is a smaller share of the time, a sample is one of `base_s` alone: whatever made it late, it was not a
few tokens, and a line through two such times would be steep or flat by chance."""
_FLOOR_S = 1e-4


class Speed:
    """One replica's line.

    Args:
        kin: the line of all replicas, which this one follows.

    Attributes:
        samples: first tokens that were learned from.
        work_tokens: that the prompts were, an exponentially weighted mean.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_base_s",
        "_error",
        "_followed",
        "_followers",
        "_kin",
        "_leaning",
        "_sums",
        "_token_s",
        "samples",
        "work_tokens",
    )

    def __init__(self, kin: Speed | None = None) -> None:
        self.samples = 0
        self.work_tokens = _PRIOR_WORK_TOKENS
        self._kin = kin
        self._followers: WeakSet[Speed] = WeakSet()
        self._asked = 0  # samples that the kin had when this one had its latest
        if kin is not None:
            kin._followers.add(self)
        self._base_s, self._token_s = PRIOR_BASE_S, 1 / PRIOR_TOKENS_PER_S
        self._error = 0.3  # running means of the log error: its size,
        self._leaning = 0.0  # and which way it goes
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)  # of w, wx, wy, wxx, wxy
        self._followed = 0  # samples that the kin had when the line was fitted

    @property
    def tokens_per_s(self) -> float:
        """Prefill speed."""
        self._follow()
        return 1 / self._token_s

    @property
    def base_s(self) -> float:
        """Time to the first token with nothing to compute."""
        self._follow()
        return self._base_s

    def predict_s(self, work_tokens: float) -> float:
        """Seconds to the first token."""
        self._follow()
        return self._base_s + work_tokens * self._token_s

    def learn(self, work_tokens: float, ttft_s: float) -> bool:
        """Takes one observation; False if it cannot be true."""
        if not (math.isfinite(ttft_s) and math.isfinite(work_tokens) and ttft_s > 0 and work_tokens >= 0):
            return False
        predicted_s = max(self.predict_s(work_tokens), _FLOOR_S)
        error = math.log(max(ttft_s, _FLOOR_S) / predicted_s)
        clipped = _bounded(error, 1.0)
        self._error += 0.15 * (abs(clipped) - self._error)
        self._leaning += 0.15 * (clipped - self._leaning)
        changed = abs(self._leaning) > 0.1 + 0.6 * self._error
        bound = _CHANGE if changed else _HICCUP
        taken_s = predicted_s * math.exp(_bounded(error, bound))
        kept = (_FORGET_FAST if changed else _FORGET) * self._faded()
        weight, work_s = 1 / (predicted_s * taken_s), work_tokens * self._token_s
        if work_s < _SHORT_SHARE * min(predicted_s, taken_s):
            self._add(0.0, taken_s - work_s, weight, kept)
        else:
            self._add(work_tokens, taken_s, weight, kept)
        self.samples += 1
        self.work_tokens += (1 - _FORGET) * (work_tokens - self.work_tokens)
        self._asked = self._kin.samples if self._kin else 0
        self._fit()
        return True

    def _add(self, x: float, y: float, weight: float, kept: float) -> None:
        w, wx, wy, wxx, wxy = (kept * each for each in self._sums)
        self._sums = (w + weight, wx + weight * x, wy + weight * y, wxx + weight * x * x, wxy + weight * x * y)

    def _follow(self) -> None:
        """Fits the line anew if the kin has learned something."""
        if self._kin is not None and self._kin.samples != self._followed:
            self._followed = self._kin.samples
            self._fit()

    def _fit(self) -> None:
        faded = self._faded()
        w, wx, wy, wxx, wxy = (faded * each for each in self._sums)
        for x, y, samples in self._anchors():
            fitted_s = max(self._base_s + x * self._token_s, _FLOOR_S)
            y = fitted_s * math.exp(_bounded(math.log(max(y, _FLOOR_S) / fitted_s), _HICCUP))
            weight = samples / (fitted_s * y)
            w, wx, wy = w + weight, wx + weight * x, wy + weight * y
            wxx, wxy = wxx + weight * x * x, wxy + weight * x * y
        determinant = w * wxx - wx * wx
        slope = (w * wxy - wx * wy) / determinant if determinant > 0 else self._token_s
        base = (wy - slope * wx) / w
        if base < 0:
            base, slope = 0.0, wxy / wxx
        if slope <= 1e-9:
            slope, base = 1e-9, wy / w
        self._base_s, self._token_s = base, slope

    def _faded(self) -> float:
        """What its samples count, with all that the kin has seen since the latest of them."""
        if self._kin is None:
            return 1.0
        turns = (self._kin.samples - self._asked) / len(self._kin._followers)
        return math.pow(0.5, turns / _FADE_TURNS)

    def _anchors(self) -> Iterator[tuple[float, float, float]]:
        """Work, time and weight in samples of what is presumed."""
        kin = self._kin
        if kin is None:
            for x in (0.0, _PRIOR_WORK_TOKENS):
                yield x, PRIOR_BASE_S + x / PRIOR_TOKENS_PER_S, _PRIOR_WEIGHT
        else:
            # Errors to one side are no scatter. The mean size of a normal deviate is 0.8 of its standard deviation.
            scatter = 1.25 * (self._error - abs(self._leaning))
            for x in (0.0, kin.work_tokens):
                yield x, kin.predict_s(x), max(1.0, (scatter / _KIN_SPREAD) ** 2)


def _bounded(error: float, bound: float) -> float:
    return min(max(error, -bound), bound)

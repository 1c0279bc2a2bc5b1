"""When experience with one entry allows its answer to be given: a bound on the share of wrong answers.

After vCache (Schroeder et al., arXiv 2502.03771): for each entry, the chance that its answer is right is a logistic
function of the similarity, learned from the times that both answers were seen. With c a lower bound of that chance,
going upstream with probability max(0, 1 - d / (1 - c)) keeps the share of wrong answers at or below d. The bound c is
the largest (1 - a) * q(a) over some a, where q(a) is the a-quantile of the chance over the logistic functions that the
observations leave likely. Own work here: a posterior over a grid of functions instead of a maximum-likelihood fit with
intervals, because most entries see few observations and those often agree.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_OBSERVATIONS = 256
"""Kept of an entry, the newest."""

FEWEST_OBSERVATIONS = 8
"""Before so many, an entry is never trusted."""

LEAST_CHANCE = 0.8
"""Below it nothing is given: the paper would, now and then, an answer that is known to be wrong."""

_MIDDLES = np.linspace(0.5, 1.1, 61)
_SLOPES = np.array([8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
_A = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2])
_MIDDLE, _SLOPE = (grid.ravel() for grid in np.meshgrid(_MIDDLES, _SLOPES))


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen once: a question of this similarity had, or had not, the same answer."""

    similarity: float
    same: bool


def correct_at_least(observations: Sequence[Observation], similarity: float) -> float:
    """The lower bound c of the chance that the answer of an entry is right at a similarity."""
    weights = np.zeros(len(_MIDDLE))
    for seen in observations[-MAX_OBSERVATIONS:]:
        chance = _logistic(seen.similarity)
        weights += np.log(np.maximum(chance if seen.same else 1.0 - chance, 1e-12))
    weights = np.exp(weights - weights.max())
    chances = _logistic(similarity)
    order = np.argsort(chances)
    cumulated = np.cumsum(weights[order]) / weights.sum()
    quantiles = chances[order][np.minimum(np.searchsorted(cumulated, _A), len(order) - 1)]
    return float(np.max((1.0 - _A) * quantiles))


def explore_chance(observations: Sequence[Observation], similarity: float, max_error_rate: float) -> float:
    """The probability with which a question has to go upstream: 1 without evidence, 0 for a proven answer."""
    if len(observations) < FEWEST_OBSERVATIONS:
        return 1.0
    wrong = 1.0 - correct_at_least(observations, similarity)
    if wrong > 1.0 - LEAST_CHANCE:
        return 1.0
    return 0.0 if wrong <= max_error_rate else 1.0 - max_error_rate / wrong


class Bound:
    """Decides whether a stored answer is given or the engine asked.

    Args:
        max_error_rate: of the decisions for similar questions, the share that may be wrong; 0 < rate < 1.
    """

    def __init__(self, max_error_rate: float, rng: random.Random) -> None:
        self._max_error_rate = max_error_rate
        self._rng = rng

    def allows(self, observations: Sequence[Observation], similarity: float) -> bool:
        return self._rng.random() >= explore_chance(observations, similarity, self._max_error_rate)


def _logistic(similarity: float) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(-np.clip(_SLOPE * (similarity - _MIDDLE), -60.0, 60.0))
    return 1.0 / (1.0 + powers)

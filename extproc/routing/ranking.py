"""The interface that every strategy shares: demand and candidates in, an explained order out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from extproc.fleet.state import ReplicaState


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that could serve the request.

    Args:
        state: its load, as the fleet knows it.
        pool: the Envoy cluster it is reached through; only replicas of one pool can stand in for each other.
        weight: share of traffic under `weighted`.
        matched_tokens: leading prompt tokens that it holds or is about to.
        held_tokens: all tokens that it is believed to hold or to be computing.
    """

    state: ReplicaState
    pool: str
    weight: float = 1.0
    matched_tokens: int = 0
    held_tokens: int = 0

    @property
    def name(self) -> str:
        return self.state.name


@dataclass(frozen=True, slots=True)
class Score:
    """One candidate's place and why.

    Args:
        cost: what the strategy minimised; comparable within one ranking only.
        note: what set this candidate apart, in a word or two; empty for an ordinary one.
    """

    candidate: Candidate
    cost: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A decision: every candidate, best first, and the reason for the first.

    Args:
        strategy: the configured name.
        reason: why the first is first: `warm`, `spread`, `guarded`, ...; a fixed set of words per strategy.
        prompt_tokens: size of the prompt, as estimated.
    """

    strategy: str
    reason: str
    prompt_tokens: int
    scores: tuple[Score, ...]

    @property
    def best(self) -> Candidate:
        return self.scores[0].candidate

    def explain(self) -> str:
        """The whole decision on one line, for the log."""
        terms = "; ".join(
            f"{score.candidate.name} cost={score.cost:.0f} matched={score.candidate.matched_tokens}"
            f" queued={score.candidate.state.queued_tokens} inflight={score.candidate.state.inflight}"
            f"{' ' + score.note if score.note else ''}"
            for score in self.scores
        )
        return f"{self.strategy}/{self.reason} prompt={self.prompt_tokens}: {terms}"


class Strategy(Protocol):
    """A rule that orders candidates."""

    def rank(self, prompt_tokens: int, candidates: Sequence[Candidate]) -> Ranking:
        """Orders the candidates, best first; all of them, so that a retry knows where to go.

        Args:
            candidates: at least one, in configuration order.
        """
        ...

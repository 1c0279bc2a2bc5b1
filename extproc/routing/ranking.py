"""The interface that every strategy shares: a demand and candidates in, an explained order out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from extproc.fleet.tiers import Behind


class Demand(NamedTuple):
    """What a strategy may know of a request.

    Args:
        prompt_tokens: as estimated.
        session: whatever the client names its conversation or user by; empty if it does not.
    """

    prompt_tokens: int
    session: str = ""


class Candidate(NamedTuple):
    """A replica that could serve the request, as things stand.

    Args:
        pool: the Envoy cluster it is reached through; only replicas of one pool can stand in for each other.
        weight: share of traffic under `weighted`.
        price: US dollars for 1,000 prompt tokens.
        inflight: requests there that have not ended.
        turn: number of the latest request sent there, counted over the fleet; 0 if there was none.
        latency_s: of its recent requests; None before the first.
        matched_tokens: leading prompt tokens that it holds or is about to, in its own cache.
        held_tokens: all tokens that it is believed to hold or to be computing.
        lasting_tokens: tokens that it would compute, each shared out among the prompts that begin with it.
        eviction_chance: probability that what its own cache evicts is used again, sooner or later.
        wait_s: until a prompt sent there now would be computed.
        tokens_per_s: prefill speed.
        base_s: to the first token of a prompt with nothing to compute and nothing ahead.
        arrivals_per_s: requests sent there, lately.
        utilisation: seconds of prefill sent there per second, lately.
        behind: the tiers behind it, the nearest first; the chances of retrieval are parts of `eviction_chance`.
    """

    name: str
    pool: str
    weight: float = 1.0
    price: float = 0.0
    inflight: int = 0
    turn: int = 0
    latency_s: float | None = None
    matched_tokens: int = 0
    held_tokens: int = 0
    lasting_tokens: float = 0.0
    eviction_chance: float = 0.0
    wait_s: float = 0.0
    tokens_per_s: float = 8000.0
    base_s: float = 0.0
    arrivals_per_s: float = 0.0
    utilisation: float = 0.0
    behind: tuple[Behind, ...] = ()

    @property
    def restorable_tokens(self) -> int:
        """Prompt tokens that follow the matched ones and are held by the tiers behind it."""
        return sum(tier.tokens for tier in self.behind)

    @property
    def remote_tokens(self) -> int:
        """Of these, those that only the remote tier holds."""
        return sum(tier.tokens for tier in self.behind if tier.kind == "remote")

    @property
    def restoring(self) -> tuple[Behind, ...]:
        """The tiers that it would restore from: those in front of the first from which computing is faster."""
        for place, tier in enumerate(self.behind):
            if tier.tokens and tier.tokens_per_s <= self.tokens_per_s:
                return self.behind[:place]
        return self.behind

    @property
    def restored_tokens(self) -> int:
        """Prompt tokens that it would restore."""
        tokens = 0
        for tier in self.restoring:
            tokens += tier.tokens
        return tokens

    @property
    def reused_tokens(self) -> int:
        """Prompt tokens that it would not compute."""
        return self.matched_tokens + self.restored_tokens if self.behind else self.matched_tokens

    @property
    def restore_s(self) -> float:
        """Predicted seconds of restoring."""
        restore_s = 0.0
        for tier in self.restoring:
            restore_s += tier.tokens / tier.tokens_per_s
        return restore_s

    def uncached_tokens(self, prompt_tokens: int) -> int:
        """Prompt tokens that it would have to compute."""
        return max(0, prompt_tokens - self.reused_tokens)

    def ttft_s(self, prompt_tokens: int) -> float:
        """Predicted seconds to the first token: base + wait + restored and computed prompt."""
        own_s = self.uncached_tokens(prompt_tokens) / self.tokens_per_s
        return self.base_s + self.wait_s + self.restore_s + own_s


class Score(NamedTuple):
    """One candidate's place and why.

    Args:
        cost: what the strategy minimised; comparable within one ranking only.
        note: what set this candidate apart, in a word or two; empty for an ordinary one.
        terms: what the cost is made of, by name.
    """

    candidate: Candidate
    cost: float
    note: str = ""
    terms: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """A decision: every candidate, best first, and the reason for the first.

    Args:
        strategy: the configured name.
        reason: why the first is first: `warm`, `spread`, ...; a fixed set of words per strategy.
    """

    strategy: str
    reason: str
    demand: Demand
    scores: tuple[Score, ...]

    @property
    def best(self) -> Candidate:
        return self.scores[0].candidate

    @property
    def elsewhere_tokens(self) -> int:
        """Prompt tokens that the warmest of the others would not compute."""
        return max((score.candidate.reused_tokens for score in self.scores[1:]), default=0)

    def explain(self) -> str:
        """The whole decision on one line, for the log."""
        terms = "; ".join(
            f"{c.name} cost={score.cost:.3g} matched={c.matched_tokens} wait={c.wait_s:.3f}s inflight={c.inflight}"
            f"{' ' + score.note if score.note else ''}"
            for score in self.scores
            for c in (score.candidate,)
        )
        return f"{self.strategy}/{self.reason} prompt={self.demand.prompt_tokens}: {terms}"

    def receipt(self, limit: int | None = None) -> dict[str, Any]:
        """The decision as data, for people and programs: why this replica, and what of the others.

        Args:
            limit: candidates to show, best first; None shows all.
        """
        prompt_tokens = self.demand.prompt_tokens
        shown = self.scores[:limit]
        receipt: dict[str, Any] = {
            "strategy": self.strategy,
            "reason": self.reason,
            "prompt_tokens": prompt_tokens,
            "replica": self.best.name,
            "replicas": [_line(score, prompt_tokens) for score in shown],
        }
        if len(shown) < len(self.scores):
            receipt["not_shown"] = len(self.scores) - len(shown)
        return receipt


def _line(score: Score, prompt_tokens: int) -> dict[str, Any]:
    candidate = score.candidate
    line: dict[str, Any] = {
        "name": candidate.name,
        "cost": round(score.cost, 6),
        "ttft_s": round(candidate.ttft_s(prompt_tokens), 4),
        "wait_s": round(candidate.wait_s, 4),
        "matched_tokens": candidate.matched_tokens,
        "uncached_tokens": candidate.uncached_tokens(prompt_tokens),
        "tokens_per_s": round(candidate.tokens_per_s),
        "base_s": round(candidate.base_s, 4),
        "inflight": candidate.inflight,
    }
    if candidate.restorable_tokens:
        line["restorable_tokens"] = candidate.restorable_tokens
        if remote_tokens := candidate.remote_tokens:
            line["remote_tokens"] = remote_tokens
        line["restore_s"] = round(candidate.restore_s, 4)
    if score.note:
        line["note"] = score.note
    if score.terms:
        line["terms"] = {name: round(value, 6) for name, value in score.terms}
    return line


class Strategy(Protocol):
    """A rule that orders candidates."""

    def rank(self, demand: Demand, candidates: Sequence[Candidate]) -> Ranking:
        """Orders the candidates, best first; all of them, so that a retry knows where to go.

        Args:
            candidates: at least one, in configuration order.
        """
        ...

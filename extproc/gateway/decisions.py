"""The latest decisions and what came of them, for people who look. Bounded, and nothing of a prompt is in it.

A decision is entered when its request is answered from a cache or sent on; the end of the request, which Envoy reports
later, completes it. What the strategy weighed is kept as it was, and becomes a receipt when somebody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from itertools import islice
from typing import TYPE_CHECKING, Any

from extproc.fleet.events import Finished
from extproc.fleet.outcome import Outcome
from extproc.routing import Demand, Ranking

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange

MOST = 10_000
_SHOWN = 16
_MOST_SCORES = 30_000
"""About 1 KB each. With more than three replicas, the oldest decisions keep only their outcome."""
_LATEST_TTFTS, _LATEST_REQUESTS = 60, 100


class Decision:
    """One of them.

    Attributes:
        number: counts up from 1.
        ranking: what was weighed, at most 16 replicas of it; None for an answer from a cache, and for old ones.
        not_shown: replicas that were weighed and are not in `ranking`.
        replica: the first choice; empty for an answer from a cache.
        served_by: empty while nobody has.
        matched_tokens, restorable_tokens: of the prompt, believed to be on the first choice and in tiers behind it.
        remote_tokens: of the restorable ones, those that only the remote tier has.
        cached_tokens: by the engine's count; None while it has not said.
        ttft_s: as observed; None if it was not timed.
        status: 0 before the end, and where the client left before there was one.
        duration_s: None before the end.
        cache: what the response caches had to do with it: miss, bypass, exact or semantic.
    """

    __slots__ = (
        "at_unix_s",
        "cache",
        "cached_tokens",
        "duration_s",
        "matched_tokens",
        "model",
        "not_shown",
        "number",
        "predicted_ttft_s",
        "prompt_tokens",
        "ranking",
        "reason",
        "remote_tokens",
        "replica",
        "request_id",
        "restorable_tokens",
        "served_by",
        "status",
        "tenant",
        "ticket",
        "ttft_s",
    )

    def __init__(self, number: int, exchange: Exchange, at_unix_s: float, cache: str) -> None:
        self.number = number
        self.ticket = exchange.ticket
        self.at_unix_s = at_unix_s
        self.request_id = exchange.request_id
        self.model = exchange.model.name
        self.tenant = exchange.caller.tenant
        self.prompt_tokens = exchange.chain.prompt_tokens
        self.cache = cache
        self.ranking: Ranking | None = None
        self.not_shown = 0
        self.replica = self.served_by = self.reason = ""
        self.matched_tokens = self.restorable_tokens = self.remote_tokens = self.status = 0
        self.predicted_ttft_s = 0.0
        self.cached_tokens: int | None = None
        self.ttft_s: float | None = None
        self.duration_s: float | None = None

    def receipt(self) -> dict[str, Any]:
        """As `Ranking.receipt` has it; empty where there is none, or none any more."""
        if self.ranking is None:
            return {}
        receipt = self.ranking.receipt()
        if self.not_shown:
            receipt["not_shown"] = self.not_shown
        return receipt


class Lately:
    """What the latest requests of one replica were like.

    Attributes:
        ttft_s: of those that were timed, oldest first.
    """

    __slots__ = ("_tokens", "ttft_s")

    def __init__(self) -> None:
        self.ttft_s: deque[float] = deque(maxlen=_LATEST_TTFTS)
        self._tokens: deque[tuple[int, int]] = deque(maxlen=_LATEST_REQUESTS)

    def took(self, outcome: Outcome) -> None:
        """Served one more."""
        cached_tokens = outcome.predicted_tokens if outcome.cached_tokens is None else outcome.cached_tokens
        self._tokens.append((min(cached_tokens, outcome.prompt_tokens), outcome.prompt_tokens))
        if outcome.ttft_s is not None:
            self.ttft_s.append(outcome.ttft_s)

    @property
    def warm_share(self) -> float:
        """Of their prompt tokens, those that were cached: by the engine's count, else as it was believed."""
        prompt_tokens = sum(prompt for _, prompt in self._tokens)
        return sum(cached for cached, _ in self._tokens) / prompt_tokens if prompt_tokens else 0.0


class Decisions:
    """A ring of them.

    Args:
        most: decisions that are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._ring: deque[Decision] = deque()
        self._open: dict[str, Decision] = {}  # by ticket, until the end is reported
        self._ranked: deque[Decision] = deque()  # those with a ranking, oldest first
        self._scores = 0
        self._number = 0
        self._lately: dict[str, Lately] = {}

    def __len__(self) -> int:
        return len(self._ring)

    def routed(self, exchange: Exchange, at_unix_s: float, cache: str) -> None:
        """A request is sent on.

        Args:
            cache: `miss` or `bypass`.
        """
        decision = self._enter(exchange, at_unix_s, cache)
        ranking, best = exchange.ranking, exchange.ranking.best
        decision.replica = best.name
        decision.reason = ranking.reason
        decision.matched_tokens = best.matched_tokens
        decision.restorable_tokens = best.restorable_tokens
        decision.remote_tokens = best.remote_tokens
        decision.predicted_ttft_s = best.ttft_s(decision.prompt_tokens)
        shown = ranking.scores[:_SHOWN]
        decision.not_shown = len(ranking.scores) - len(shown)
        decision.ranking = Ranking(ranking.strategy, ranking.reason, Demand(ranking.demand.prompt_tokens), shown)
        self._scores += len(shown)
        self._ranked.append(decision)
        while self._scores > _MOST_SCORES:
            self._drop_ranking(self._ranked.popleft())

    def cached(self, exchange: Exchange, at_unix_s: float, cache: str) -> None:
        """A request is answered from a cache.

        Args:
            cache: `exact` or `semantic`.
        """
        decision = self._enter(exchange, at_unix_s, cache)
        decision.status, decision.duration_s = 200, exchange.spent_s
        del self._open[decision.ticket]

    def outcome(self, outcome: Outcome) -> None:
        """What came of a request that was served."""
        lately = self._lately.get(outcome.replica)
        if lately is None:
            lately = self._lately[outcome.replica] = Lately()
        lately.took(outcome)
        decision = self._open.get(outcome.ticket)
        if decision is not None:
            decision.cached_tokens, decision.ttft_s = outcome.cached_tokens, outcome.ttft_s

    def ended(self, end: Finished, duration_s: float) -> None:
        """A request has ended, however it did."""
        decision = self._open.pop(end.ticket, None)
        if decision is not None:
            decision.status, decision.duration_s = end.status, duration_s
            decision.served_by = end.served or ""

    def latest(self, limit: int, *, after: int = 0, before: int = 0) -> list[Decision]:
        """Newest first.

        Args:
            after: only those with a higher number.
            before: only those with a lower one; 0: from the newest.
        """
        if not self._ring:
            return []
        skipped = max(0, self._number - before + 1) if before else 0
        return [each for each in islice(reversed(self._ring), skipped, skipped + limit) if each.number > after]

    def find(self, number: int) -> Decision | None:
        """The one with that number, if it is kept."""
        at = number - (self._ring[0].number if self._ring else 0)
        return self._ring[at] if 0 <= at < len(self._ring) else None

    def lately(self, replica: str) -> Lately:
        """Of a replica; nothing for one that has not served."""
        return self._lately.get(replica) or Lately()

    def keep_replicas(self, names: Container[str]) -> None:
        """Forgets what other replicas were like."""
        self._lately = {name: lately for name, lately in self._lately.items() if name in names}

    def _enter(self, exchange: Exchange, at_unix_s: float, cache: str) -> Decision:
        self._number += 1
        decision = Decision(self._number, exchange, at_unix_s, cache)
        self._ring.append(decision)
        self._open[decision.ticket] = decision
        if len(self._ring) > self._most:
            oldest = self._ring.popleft()
            if self._open.get(oldest.ticket) is oldest:
                del self._open[oldest.ticket]
            if self._ranked and self._ranked[0] is oldest:
                self._drop_ranking(self._ranked.popleft())
        return decision

    def _drop_ranking(self, decision: Decision) -> None:
        if decision.ranking is not None:
            self._scores -= len(decision.ranking.scores)
            decision.ranking = None

"""What caches saved: tokens that no engine computed, and how long computing them would have taken.

Seconds are prefill only, at the speed that the replica (for an answer that was kept: the fleet) had been seen to
compute prompts of that model. What was generated twice without need is counted in tokens and not in seconds, since no
decode speed is learned. Tokens are priced when they are asked for, at the speed learned by then, so a request adds
numbers and looks nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extproc.fleet.outcome import Outcome
from extproc.fleet.state import Fleet
from extproc.telemetry.instruments import MOST_SERIES, Counter, Family, Reading
from extproc.telemetry.routing_quality import CREDIBLE_TOKENS

PREFIX = "prefix"


class Served:
    """What one replica did.

    Attributes:
        cached_tokens: of prompts that it did not compute, by its engine's count.
        uncached_tokens: of prompts that it computed.
    """

    __slots__ = ("cached_tokens", "requests", "uncached_tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.cached_tokens = 0
        self.uncached_tokens = 0


class Savings:
    """Counts what was not computed, by replica and by cache.

    Attributes:
        fleet: knows how fast replicas are; without it nothing is said of seconds.
    """

    title = "Saved and computed"

    def __init__(self) -> None:
        self.fleet: Fleet | None = None
        self._tokens = Counter(
            "kvgate_cache_saved_tokens_total",
            "Tokens that no engine computed: prompts in engines' prefix caches; prompts and answers that were kept.",
            *("cache", "model"),
        )
        self._seconds = Counter(
            "kvgate_cache_saved_seconds_total",
            "Seconds of prefill that this would have taken, at the speed that replicas were seen to have.",
            *("cache", "model"),
        )
        self._served: dict[str, Served] = {}
        self._unpriced: dict[tuple[str, str, str], int] = {}  # replica or nobody, cache, model -> prompt tokens

    def observe(self, outcome: Outcome) -> None:
        """A request was served by a replica."""
        served = self._served.get(outcome.replica)
        if served is None:
            served = self._served[outcome.replica] = Served()
        served.requests += 1
        cached, prompt = outcome.cached_tokens, outcome.usage.prompt_tokens
        if cached is None or prompt is None or prompt > CREDIBLE_TOKENS:
            believed = outcome.predicted_tokens if outcome.first_choice else 0
            served.uncached_tokens += outcome.prompt_tokens - believed
            return
        counted = outcome.usage.cached_tokens or 0
        served.cached_tokens += counted
        served.uncached_tokens += prompt - counted
        if counted:
            self._tokens.of(PREFIX, outcome.model).value += counted
            self._owe(outcome.replica, PREFIX, outcome.model, cached)

    def answered(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """A request was answered from a cache of answers: `exact` or `semantic`."""
        self._tokens.of(cache, model).value += prompt_tokens + completion_tokens
        self._owe("", cache, model, prompt_tokens)

    @property
    def served(self) -> Mapping[str, Served]:
        """By replica."""
        return self._served

    def families(self) -> Iterator[Family]:
        self._price()
        yield self._tokens
        yield self._seconds
        served = self._of_the_fleet()
        for name, text, read in (
            ("kvgate_replica_requests_total", "Requests that the replica served.", "requests"),
            (
                "kvgate_replica_cached_tokens_total",
                "Prompt tokens that it had cached, by its engine's count.",
                "cached_tokens",
            ),
            (
                "kvgate_replica_uncached_tokens_total",
                "Prompt tokens that it computed; as estimated, where its engine did not say.",
                "uncached_tokens",
            ),
        ):
            samples = [((replica,), getattr(each, read)) for replica, each in served.items()]
            yield Reading(name, "counter", text, ("replica",), samples)

    def _of_the_fleet(self) -> dict[str, Served]:
        """Those of replicas that are gone are dropped."""
        if self.fleet is not None:
            self._served = {name: self._served[name] for name in self.fleet.replicas if name in self._served}
        return self._served

    def _owe(self, replica: str, cache: str, model: str, prompt_tokens: int) -> None:
        key = replica, cache, model
        owed = self._unpriced.get(key)
        if owed is None and len(self._unpriced) >= 10 * MOST_SERIES:
            self._price()
        self._unpriced[key] = (owed or 0) + prompt_tokens

    def _price(self) -> None:
        unpriced, self._unpriced = self._unpriced, {}
        if (fleet := self.fleet) is None:
            return
        usual: dict[str, float] = {}
        for (replica, cache, model), tokens in unpriced.items():
            if state := fleet.replicas.get(replica):
                tokens_per_s = fleet.speed(state, model).tokens_per_s
            else:
                tokens_per_s = usual.get(model) or usual.setdefault(model, _usual(fleet, model))
            if tokens_per_s > 0:
                self._seconds.of(cache, model).value += tokens / tokens_per_s


def _usual(fleet: Fleet, model: str) -> float:
    """Mean prefill speed of the replicas, in tokens per second; 0 if there are none."""
    speeds = [fleet.speed(state, model).tokens_per_s for state in fleet.replicas.values()]
    return sum(speeds) / len(speeds) if speeds else 0.0

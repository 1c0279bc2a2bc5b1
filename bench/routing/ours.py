"""The gateway's own code as a policy: its fleet state, cache index, sampler and strategies, fed with its events."""

from __future__ import annotations

import math

from bench.routing.baselines.views import Exact
from bench.routing.policy import Setting
from bench.routing.request import BenchRequest
from extproc.clock import ManualClock
from extproc.config.settings import PrefixKvAware, Routing, Strategy
from extproc.config.topology import HostTier
from extproc.fleet.events import (
    CapacityReported,
    Event,
    Finished,
    FirstToken,
    HostTierReported,
    LoadReported,
    RemoteTierReported,
    ReplicaDown,
    ReplicaDraining,
    ReplicaUp,
    Routed,
    Usage,
)
from extproc.fleet.index import CacheIndex
from extproc.fleet.outcome import Outcome
from extproc.fleet.state import Fleet
from extproc.gateway.sampler import Sampler
from extproc.routing import Candidate, Demand, Option, Ranking, assess, build_strategy
from extproc.sim import EngineStats

_FIRST_TOKENS_PER_S = 20.0  # what production samples


class KvGate:
    """The processor without Envoy.

    Args:
        strategy: as `routing.strategy` of a configuration.
        exact: what a replica holds is read from its engine instead of being inferred; what is behind it counts as
            held, and restoring as nothing.
    """

    def __init__(self, setting: Setting, strategy: Strategy = "prefix_kv_aware", *, exact: bool = False) -> None:
        self._clock = ManualClock()
        self.fleet = Fleet(CacheIndex(PrefixKvAware().max_blocks_per_replica), observe=self._observe)
        self._strategy = build_strategy(Routing(strategy=strategy))
        self._sampler = Sampler(_FIRST_TOKENS_PER_S, self._clock)
        self._exact = Exact(setting.engines) if exact else None
        self._host_tier = HostTier(setting.host_tokens) if setting.host_tokens and not exact else None
        self._remote_tokens = None if exact else setting.remote_tokens or None
        self._live: dict[str, int] = {}
        self._options: tuple[Option, ...] = ()
        self._timed: set[str] = set()
        self._errors = Errors()

    def route(self, request: BenchRequest, now_s: float) -> int:
        self._advance(now_s)
        demand = Demand(request.prompt_tokens, request.session or "")
        ranking = self._strategy.rank(demand, self._candidates(request))
        timed = self._sampler.take()
        if timed:
            self._timed.add(request.id)
        self._apply(_routed(request, ranking, now_s, timed=timed))
        replica = self._live[ranking.best.name]
        if self._exact is not None:
            self._exact.routed(request, replica)
        return replica

    def first_token(self, request: BenchRequest, replica: int, now_s: float) -> None:
        if self._exact is not None:
            self._exact.computed(request, replica)
        if request.id in self._timed:
            self._timed.remove(request.id)
            self._apply(FirstToken(now_s, request.id))

    def finished(self, request: BenchRequest, replica: int, now_s: float, cached_tokens: int) -> None:
        usage = Usage(request.prompt_tokens, request.output_tokens, cached_tokens)
        self._apply(Finished(now_s, request.id, request.id, _name(replica), 200, reached=True, usage=usage))

    def report(self, replica: int, stats: EngineStats, now_s: float) -> None:
        self._apply(LoadReported(now_s, _name(replica), stats.running, stats.waiting, stats.kv_usage))

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        self._live[_name(replica)] = replica
        if self._exact is not None:
            self._exact.up(replica, capacity_tokens)
        self._options = tuple(Option(name, "fleet") for name in self._live)
        self._apply(ReplicaUp(now_s, _name(replica)))
        self._apply(CapacityReported(now_s, _name(replica), capacity_tokens))
        if self._host_tier is not None:
            self._apply(HostTierReported(now_s, _name(replica), self._host_tier))
        if self._remote_tokens is not None:
            self._apply(RemoteTierReported(now_s, _name(replica), self._remote_tokens))

    def down(self, replica: int, now_s: float) -> None:
        del self._live[_name(replica)]
        self._options = tuple(Option(name, "fleet") for name in self._live)
        self._apply(ReplicaDraining(now_s, _name(replica)))
        self._apply(ReplicaDown(now_s, _name(replica)))

    def notes(self) -> dict[str, float]:
        """How wrong the predictions were."""
        return self._errors.notes()

    def _observe(self, outcome: Outcome) -> None:
        self._errors.add(outcome)

    def _candidates(self, request: BenchRequest) -> list[Candidate]:
        candidates = assess(self.fleet, request.chain, self._options, self._clock.now())
        if self._exact is None:
            return candidates
        matched = self._exact.matched(request, list(self._live.values()))
        return [_with_match(each, matched[self._live[each.name]], request) for each in candidates]

    def _apply(self, event: Event) -> None:
        self._advance(event.at_s)
        self.fleet.apply(event)

    def _advance(self, now_s: float) -> None:
        self._clock.advance(max(0.0, now_s - self._clock.now()))


class Errors:
    """What the gateway expected against what came of it."""

    def __init__(self) -> None:
        self._cached: list[float] = []
        self._prompt_tokens = 0
        self._log_ttft: list[float] = []
        self._misrouted = 0

    def add(self, outcome: Outcome) -> None:
        if outcome.cached_tokens is not None:
            self._cached.append(abs(outcome.predicted_tokens - outcome.cached_tokens))
            self._prompt_tokens += outcome.prompt_tokens
            self._misrouted += bool(outcome.misrouted)
        if outcome.ttft_s and outcome.predicted_ttft_s:
            self._log_ttft.append(math.log(outcome.ttft_s / outcome.predicted_ttft_s))

    def notes(self) -> dict[str, float]:
        """Error of cached tokens as a share of prompt tokens, bias and typical factor of TTFT, share of misroutes."""
        times = sorted(self._log_ttft)
        sizes = sorted(abs(each) for each in times)
        return {
            "cached_error_share": sum(self._cached) / max(1, self._prompt_tokens),
            "ttft_bias": math.exp(times[len(times) // 2]) if times else math.nan,
            "ttft_factor_p50": math.exp(sizes[len(sizes) // 2]) if sizes else math.nan,
            "ttft_factor_p90": math.exp(sizes[len(sizes) * 9 // 10]) if sizes else math.nan,
            "misrouted_share": self._misrouted / max(1, len(self._cached)),
        }


def _with_match(candidate: Candidate, matched_tokens: int, request: BenchRequest) -> Candidate:
    """The candidate as it is when the view is exact."""
    more = candidate.matched_tokens - matched_tokens
    lasting = min(float(request.prompt_tokens - matched_tokens), max(0.0, candidate.lasting_tokens + more))
    return candidate._replace(matched_tokens=matched_tokens, lasting_tokens=lasting)


def _routed(request: BenchRequest, ranking: Ranking, now_s: float, *, timed: bool) -> Routed:
    """The event that the gateway's exchange makes of a decision."""
    best = ranking.best
    return Routed(
        at_s=now_s,
        ticket=request.id,
        request_id=request.id,
        replica=best.name,
        chain=request.chain,
        uncached_tokens=best.uncached_tokens(request.prompt_tokens),
        predicted_ttft_s=best.ttft_s(request.prompt_tokens),
        elsewhere_tokens=ranking.elsewhere_tokens,
        timed=timed,
        behind=best.behind,
        restored_tokens=best.restored_tokens,
        restore_s=best.restore_s,
    )


def _name(replica: int) -> str:
    return f"replica-{replica:02}"

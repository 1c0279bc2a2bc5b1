"""The fleet as the gateway believes it to be: a fold over events. `Fleet.apply` is the only writer."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from extproc.config.topology import TierKind
from extproc.fleet.blocks import ReportedBlocks
from extproc.fleet.events import (
    CacheCleared,
    CapacityReported,
    Event,
    Finished,
    FirstToken,
    HostTierReported,
    Lapsed,
    LoadReported,
    RemoteTierReported,
    ReplicaDown,
    ReplicaDraining,
    ReplicaProven,
    ReplicaUp,
    Routed,
)
from extproc.fleet.index import CacheIndex
from extproc.fleet.kv_events import BlocksRemoved, BlocksStored, FeedReported
from extproc.fleet.lessons import Lessons, Outstanding
from extproc.fleet.lookup import Lookup
from extproc.fleet.outcome import Outcome
from extproc.fleet.replica import ReplicaState
from extproc.fleet.reports import with_reports
from extproc.fleet.restore import RestoreRate
from extproc.fleet.speed import Speed
from extproc.prefix import Chain, Correction
from extproc.prefix.exact import ExactPrompt
from extproc.prefix.media_runs import MediaRuns

log = logging.getLogger(__name__)

_STORE = "the store"
"""The domain of the only remote tier there is."""


class Fleet:
    """Replicas, their load and their caches.

    Args:
        failure_threshold: failures in a row before a replica is set aside.
        cooldown_s: how long it is left alone before it is asked whether it serves again.
        latency_ewma_alpha: how much the latest request counts in a replica's mean latency, 0 to 1.
        observe: is told what came of every request that was served.
        blocks: what KV events say; by default an index of its own.

    Attributes:
        index: what is believed of every cache.
        blocks: what the engines that publish KV events hold.
    """

    def __init__(
        self,
        index: CacheIndex,
        *,
        failure_threshold: int = 3,
        cooldown_s: float = 15.0,
        latency_ewma_alpha: float = 0.3,
        observe: Callable[[Outcome], None] | None = None,
        blocks: ReportedBlocks | None = None,
    ) -> None:
        self.index = index
        self.blocks = ReportedBlocks(MediaRuns()) if blocks is None else blocks
        self._observe = observe
        self._replicas: dict[str, ReplicaState] = {}
        self._outstanding: OrderedDict[str, Outstanding] = OrderedDict()  # by ticket, oldest first
        self._tickets: dict[str, list[str]] = {}  # request id -> tickets
        self._turns = 0
        self.faults: Counter[str] = Counter()
        self._lessons = Lessons(index, self.faults)
        self.configure(failure_threshold, cooldown_s, latency_ewma_alpha)
        self._appliers: Mapping[type[Any], Callable[[Any], None]] = {
            ReplicaUp: self._replica_up,
            ReplicaProven: self._replica_proven,
            ReplicaDraining: self._replica_draining,
            ReplicaDown: self._replica_down,
            Routed: self._routed,
            FirstToken: self._first_token,
            Finished: self._finished,
            Lapsed: self._lapsed,
            CacheCleared: self._cache_cleared,
            LoadReported: self._load_reported,
            CapacityReported: self._capacity_reported,
            HostTierReported: self._host_tier_reported,
            RemoteTierReported: self._remote_tier_reported,
            BlocksStored: self._blocks_reported,
            BlocksRemoved: self._blocks_reported,
            FeedReported: self._blocks_reported,
        }

    @property
    def replicas(self) -> Mapping[str, ReplicaState]:
        """Every known replica by name. Read only."""
        return self._replicas

    @property
    def outstanding(self) -> int:
        """Requests routed and not ended."""
        return len(self._outstanding)

    def speed(self, replica: ReplicaState, model: str) -> Speed:
        """How fast a replica is with a model. Read only."""
        return self._lessons.speed(replica, model)

    def restore_rate(self, replica: ReplicaState, model: str, kind: TierKind = "host") -> RestoreRate:
        """How fast a replica restores what a tier behind it holds of a model. Read only."""
        return self._lessons.restore_rate(replica, model, kind)

    def correction(self, model: str) -> Correction:
        """What is known of a model's tokens. Read only."""
        return self._lessons.correction(model)

    def look_up(self, chain: Chain, prompt: ExactPrompt | None = None) -> Lookup:
        """What every replica and its tiers have of a prompt: as the engine says, where it does, else as believed.

        Args:
            prompt: its tokens; None: they are not known, and what engines say cannot be used.
        """
        lookup = self.index.look_up(chain)
        return lookup if prompt is None else with_reports(lookup, self.blocks, self._replicas, prompt)

    def configure(self, failure_threshold: int, cooldown_s: float, latency_ewma_alpha: float) -> None:
        """Goes by these settings from now on; see the class."""
        self._failure_threshold = failure_threshold
        self._cooldown_s = cooldown_s
        self._lessons.latency_ewma_alpha = latency_ewma_alpha

    def apply(self, event: Event) -> None:
        """Takes one fact in. Facts about unknown replicas or requests change nothing."""
        self._appliers[type(event)](event)

    def _replica_up(self, event: ReplicaUp) -> None:
        self.index.add(event.replica)
        state = self._replicas.get(event.replica)
        if state is None:
            state = self._replicas[event.replica] = ReplicaState(event.replica)
        state.draining = False
        state.failures = 0
        state.proven = event.proven

    def _replica_proven(self, event: ReplicaProven) -> None:
        if state := self._replicas.get(event.replica):
            state.proven = True
            state.failures = 0

    def _replica_draining(self, event: ReplicaDraining) -> None:
        if state := self._replicas.get(event.replica):
            state.draining = True

    def _replica_down(self, event: ReplicaDown) -> None:
        self._replicas.pop(event.replica, None)
        self.index.remove(event.replica)
        self.blocks.forget(event.replica)

    def _cache_cleared(self, event: CacheCleared) -> None:
        self.index.clear(event.replica)
        self._blocks_reported(event)

    def _blocks_reported(self, event: BlocksStored | BlocksRemoved | FeedReported | CacheCleared) -> None:
        if event.replica in self._replicas:
            self.blocks.apply(event)

    def _load_reported(self, event: LoadReported) -> None:
        if state := self._replicas.get(event.replica):
            state.report(event.running, event.waiting, event.kv_usage, event.at_s)

    def _capacity_reported(self, event: CapacityReported) -> None:
        if state := self._replicas.get(event.replica):
            state.capacity.report(event.kv_tokens)
            self.index.set_capacity(event.replica, state.capacity.tokens)
            self.blocks.set_block_size(event.replica, event.block_size)

    def _host_tier_reported(self, event: HostTierReported) -> None:
        if state := self._replicas.get(event.replica):
            state.host_tier = tier = event.tier
            self.blocks.set_domain(event.replica, tier.domain or "" if tier else "")
            if tier is None:
                self.index.set_tier(event.replica, None)
            else:
                # No configured name has a space in it: a replica's own tier is nobody else's.
                self.index.set_tier(event.replica, tier.domain or f"of {event.replica}", tier.tokens)

    def _remote_tier_reported(self, event: RemoteTierReported) -> None:
        if state := self._replicas.get(event.replica):
            state.remote_cache_tokens = event.tokens
            self.index.set_tier(event.replica, _STORE if event.tokens else None, event.tokens or 0, "remote")

    def _routed(self, event: Routed) -> None:
        if event.ticket in self._outstanding:
            return
        self._turns += 1
        state = self._replicas.get(event.replica)
        request = self._outstanding[event.ticket] = Outstanding(event, state)
        if event.request_id:
            self._tickets.setdefault(event.request_id, []).append(event.ticket)
        if state is not None:
            state.speed = self._lessons.speed(state, event.model)
            state.model = event.model
            new_tokens = event.uncached_tokens + event.restored_tokens
            memory_s = state.memory_wait_s(new_tokens, self.index.claimed_tokens(event.replica))
            request.ahead_tokens = state.wait_s(event.at_s, memory_s) * state.speed.tokens_per_s
            work_tokens = event.uncached_tokens + event.restore_s * state.speed.tokens_per_s
            state.take(event.ticket, work_tokens, event.at_s, timed=event.timed)
            state.turn = self._turns
            if event.prompt is not None:
                request.claim = self.blocks.claim(event.replica, event.prompt)
        self.index.claim(event.replica, event.chain, event.at_s)

    def _first_token(self, event: FirstToken) -> None:
        request = self._outstanding.get(event.ticket)
        if request is None or request.ttft_s is not None:
            return
        request.ttft_s = max(0.0, event.at_s - request.routed.at_s)
        if request.state is not None:
            request.state.wait_s(event.at_s)
            request.state.queue.done(event.ticket)

    def _finished(self, event: Finished) -> None:
        request = self._find(event)
        if request is None:
            # Without a ticket it was never routed by us; with one and no replica, the gateway answered by itself.
            self.faults["unmatched report"] += bool(event.ticket) and event.served is not None
            return
        first_choice = request.routed.replica
        answered = event.served is not None and event.reached and event.status < 400
        server = self._replicas.get(event.served or "")
        if answered and server is not None:
            self._measure_images(request.routed.prompt, event.usage.prompt_tokens)
            outcome = self._lessons.learn(request, event, server)
            if self._observe is not None:
                self._observe(outcome)
        self._forget(request, event.at_s, computed=answered and event.served == first_choice)
        if event.served == first_choice and event.status < 500:
            self._succeeded(first_choice)
        elif event.served != first_choice and (event.served is not None or event.status >= 500):
            self._failed(first_choice, event.at_s)

    def _measure_images(self, prompt: ExactPrompt | None, prompt_tokens: int | None) -> None:
        """Engines report full blocks alone: the end of an image at a prompt's end is not among them."""
        if prompt is None or prompt.unmeasured is None or prompt_tokens is None:
            return
        run = prompt.unmeasured.run(prompt_tokens)
        if run is not None:
            for identifier in prompt.unmeasured.identifiers:
                self.blocks.runs.learn(identifier, len(run), run)

    def _lapsed(self, event: Lapsed) -> None:
        stale = []
        for ticket, request in self._outstanding.items():
            if request.routed.at_s >= event.routed_before_s:
                break
            stale.append(ticket)
        for ticket in stale:
            self._forget(self._outstanding[ticket], event.at_s, computed=False)
        if stale:
            log.warning("%d requests were never reported as finished; counted out", len(stale))

    def _find(self, report: Finished) -> Outstanding | None:
        """The request that a report is about: by its ticket, else by its request id."""
        ticket = report.ticket
        if not ticket and report.request_id:
            ticket = next(iter(self._tickets.get(report.request_id, ())), "")
        return self._outstanding.get(ticket)

    def _forget(self, request: Outstanding, at_s: float, *, computed: bool) -> None:
        routed = request.routed
        del self._outstanding[routed.ticket]
        if tickets := self._tickets.get(routed.request_id):
            tickets.remove(routed.ticket)
            if not tickets:
                del self._tickets[routed.request_id]
        if request.state is not None:
            request.state.end(routed.ticket, at_s, computed=computed)
            if self._replicas.get(routed.replica) is request.state:
                self.index.release(routed.replica, routed.chain)
        if request.claim is not None and computed:
            self.blocks.served(request.claim, at_s)
        elif request.claim is not None:
            self.blocks.release(request.claim)

    def _succeeded(self, replica: str) -> None:
        if state := self._replicas.get(replica):
            state.failures = 0

    def _failed(self, replica: str, at_s: float) -> None:
        state = self._replicas.get(replica)
        if state is None:
            return
        state.failures += 1
        if state.failures >= self._failure_threshold:
            if state.proven:
                log.warning("replica %s failed %d times in a row; set aside", replica, state.failures)
            state.proven = False
            state.ask_after_s = at_s + self._cooldown_s

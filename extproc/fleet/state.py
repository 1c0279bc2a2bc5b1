"""The fleet as the gateway believes it to be: a fold over events. `Fleet.apply` is the only writer."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from extproc.fleet.events import (
    CacheCleared,
    Event,
    Finished,
    FirstToken,
    Lapsed,
    ReplicaDown,
    ReplicaDraining,
    ReplicaProven,
    ReplicaUp,
    Routed,
)
from extproc.fleet.index import CacheIndex

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ReplicaState:
    """What is known of one replica; written by `Fleet` alone.

    Args:
        draining: finishes what it has, gets nothing new.
        inflight: requests sent there that have not ended.
        queued_tokens: prompt tokens still to be computed there, as far as was predicted.
        routed: requests ever sent there as first choice.
        turn: number of the latest request sent there, counted over the fleet; 0 if there was none.
        failures: first choices in a row that it did not serve.
        proven: it serves, as far as is known. One that is new or failed too often is not, and is used only when there
            is nobody else, until `ReplicaProven`.
        ask_after_s: not worth asking before that time whether it serves.
    """

    name: str
    draining: bool = False
    inflight: int = 0
    queued_tokens: int = 0
    routed: int = 0
    turn: int = 0
    failures: int = 0
    proven: bool = True
    ask_after_s: float = -math.inf


@dataclass(slots=True)
class _Outstanding:
    """A request that was routed and has not ended. `state` is None if its replica was unknown."""

    routed: Routed
    state: ReplicaState | None
    prefilling: bool = True


class Fleet:
    """Replicas, their load and their caches.

    Args:
        failure_threshold: failures in a row before a replica is set aside.
        cooldown_s: how long it is left alone before it is asked whether it serves again.
    """

    def __init__(self, index: CacheIndex, *, failure_threshold: int = 3, cooldown_s: float = 15.0) -> None:
        self.index = index
        self._failure_threshold = failure_threshold
        self._cooldown_s = cooldown_s
        self._replicas: dict[str, ReplicaState] = {}
        self._outstanding: OrderedDict[str, _Outstanding] = OrderedDict()  # by ticket, oldest first
        self._tickets: dict[str, list[str]] = {}  # request id -> tickets
        self._turns = 0
        self.unmatched_reports = 0
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
        }

    @property
    def replicas(self) -> Mapping[str, ReplicaState]:
        """Every known replica by name. Read only."""
        return self._replicas

    @property
    def outstanding(self) -> int:
        """Requests routed and not ended."""
        return len(self._outstanding)

    def apply(self, event: Event) -> None:
        """Takes one fact in. Facts about unknown replicas or requests change nothing."""
        self._appliers[type(event)](event)

    def _replica_up(self, event: ReplicaUp) -> None:
        self.index.add(event.replica)
        state = self._replicas.setdefault(event.replica, ReplicaState(event.replica))
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

    def _cache_cleared(self, event: CacheCleared) -> None:
        self.index.clear(event.replica)

    def _routed(self, event: Routed) -> None:
        if event.ticket in self._outstanding:
            return
        self._turns += 1
        state = self._replicas.get(event.replica)
        self._outstanding[event.ticket] = _Outstanding(event, state)
        if event.request_id:
            self._tickets.setdefault(event.request_id, []).append(event.ticket)
        self.index.claim(event.replica, event.chain)
        if state is not None:
            state.inflight += 1
            state.queued_tokens += event.uncached_tokens
            state.routed += 1
            state.turn = self._turns

    def _first_token(self, event: FirstToken) -> None:
        request = self._outstanding.get(event.ticket)
        if request is not None:
            self._prefilled(request)

    def _finished(self, event: Finished) -> None:
        request = self._find(event)
        if request is None:
            self.unmatched_reports += bool(event.ticket)  # without one, it was never routed by us
            return
        first_choice = request.routed.replica
        if event.served is not None and event.reached and event.status < 400:
            self.index.store(event.served, request.routed.chain)
        self._forget(request)
        if event.served == first_choice and event.status < 500:
            self._succeeded(first_choice)
        elif event.served != first_choice and (event.served is not None or event.status >= 500):
            self._failed(first_choice, event.at_s)

    def _lapsed(self, event: Lapsed) -> None:
        stale = []
        for ticket, request in self._outstanding.items():
            if request.routed.at_s >= event.routed_before_s:
                break
            stale.append(ticket)
        for ticket in stale:
            self._forget(self._outstanding[ticket])
        if stale:
            log.warning("%d requests were never reported as finished; counted out", len(stale))

    def _find(self, report: Finished) -> _Outstanding | None:
        """The request that a report is about: by its ticket, else by its request id."""
        ticket = report.ticket
        if not ticket and report.request_id:
            ticket = next(iter(self._tickets.get(report.request_id, ())), "")
        return self._outstanding.get(ticket)

    def _forget(self, request: _Outstanding) -> None:
        routed = request.routed
        self._prefilled(request)
        del self._outstanding[routed.ticket]
        if tickets := self._tickets.get(routed.request_id):
            tickets.remove(routed.ticket)
            if not tickets:
                del self._tickets[routed.request_id]
        if request.state is not None:
            request.state.inflight -= 1
            if self._replicas.get(routed.replica) is request.state:
                self.index.release(routed.replica, routed.chain)

    def _prefilled(self, request: _Outstanding) -> None:
        if request.prefilling:
            request.prefilling = False
            if request.state is not None:
                request.state.queued_tokens -= request.routed.uncached_tokens

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

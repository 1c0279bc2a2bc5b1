"""What is known of one replica, its cache apart."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from extproc.config.topology import HostTier, TierKind
from extproc.fleet.capacity import Capacity
from extproc.fleet.pace import Pace
from extproc.fleet.prefill import PrefillQueue
from extproc.fleet.restore import RestoreRate
from extproc.fleet.speed import Speed

_REPORT_LIVES_S = 30.0
"""A load report older than this says nothing any more."""


@dataclass(slots=True)
class ReplicaState:
    """Written by `Fleet` alone.

    Args:
        draining: finishes what it has, gets nothing new.
        inflight: requests sent there that have not ended.
        queue: prompts still to be computed there, as far as can be told.
        model: that it was last asked for.
        speed: how long a prompt takes there, as learned, for that model.
        speeds: the same by model, of those that it was timed with.
        restore_rates: how fast it restores, as learned, by kind of tier and model, of those for which that was seen.
        arrivals: requests sent there per second.
        work: seconds of prefill sent there per second; 1 is all that it can do.
        latency_s: of the requests that it served, an exponentially weighted mean; None before the first.
        answer_tokens: of those, likewise, as far as its engine counted them.
        routed: requests ever sent there as first choice.
        turn: number of the latest request sent there, counted over the fleet; 0 if there was none.
        failures: first choices in a row that it did not serve.
        proven: it serves, as far as is known. One that is new or failed too often is not, and is used only when there
            is nobody else, until `ReplicaProven`.
        ask_after_s: not worth asking before that time whether it serves.
        capacity: of its KV cache.
        host_tier: behind its KV cache; None: there is none.
        remote_cache_tokens: that fit in the store behind all host tiers; None: it reaches none.
        kv_usage: share of it in use by requests, as its engine last said.
        strangers: requests there that did not come through this gateway, as the engine's count told at `reported_s`.
        strangers_waiting: of those, not yet computed.
        ended_s: when the latest of our requests ended.
    """

    name: str
    draining: bool = False
    inflight: int = 0
    queue: PrefillQueue = field(default_factory=PrefillQueue)
    model: str = ""
    speed: Speed = field(default_factory=Speed)
    speeds: dict[str, Speed] = field(default_factory=dict)
    restore_rates: dict[tuple[TierKind, str], RestoreRate] = field(default_factory=dict)
    arrivals: Pace = field(default_factory=Pace)
    work: Pace = field(default_factory=Pace)
    latency_s: float | None = None
    answer_tokens: float = 0.0
    routed: int = 0
    turn: int = 0
    failures: int = 0
    proven: bool = True
    ask_after_s: float = -math.inf
    capacity: Capacity = field(default_factory=Capacity)
    host_tier: HostTier | None = None
    remote_cache_tokens: int | None = None
    kv_usage: float = 0.0
    strangers: int = 0
    strangers_waiting: int = 0
    reported_s: float = -math.inf
    ended_s: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    @property
    def queued_tokens(self) -> float:
        """Prompt tokens still to be computed, as of the latest `wait_s`."""
        return self.queue.tokens

    def wait_s(self, now_s: float, memory_s: float = 0.0) -> float:
        """Seconds until a prompt sent there now would be computed: what is queued, and what the engine is late with.

        Args:
            memory_s: `memory_wait_s` of the prompt. An engine without room is late for that very reason: the longer of
                the two counts.
        """
        wait_s = memory_s
        if self.queue:
            self.queue.drain(now_s, self.speed.tokens_per_s)
            wait_s = self.queue.tokens / self.speed.tokens_per_s + max(self.queue.stall_s, memory_s)
        if self.strangers_waiting and now_s - self.reported_s < _REPORT_LIVES_S:
            wait_s += self.strangers_waiting * self._typical_work_s(now_s)
        return wait_s

    def memory_wait_s(self, prompt_tokens: int, claimed_tokens: int) -> float:
        """Seconds until its KV cache has room for a prompt; 0 if it has, or if its size is not known.

        By Little's law, what is in use comes free at in use / `latency_s`. A request in flight has, on average, half of
        its answer.
        """
        size = self.capacity.tokens
        if size is None or not self.inflight or self.latency_s is None:
            return 0.0
        used = claimed_tokens + self.inflight * self.answer_tokens / 2
        excess = used + prompt_tokens + self.answer_tokens - size
        return excess / used * self.latency_s if excess > 0 and used > 0 else 0.0

    def busy(self, now_s: float) -> int:
        """Requests there, those of others that the engine told of included."""
        if self.strangers and now_s - self.reported_s < _REPORT_LIVES_S:
            return self.inflight + self.strangers
        return self.inflight

    def take(self, ticket: str, work_tokens: float, at_s: float, *, timed: bool) -> None:
        """A request was sent there, to whose first token as much is to be done as to compute so many tokens."""
        self.inflight += 1
        self.routed += 1
        self.queue.push(ticket, work_tokens, at_s, timed=timed)
        self.arrivals.add(1.0, at_s)
        self.work.add(work_tokens / self.speed.tokens_per_s, at_s)

    def end(self, ticket: str, at_s: float, *, computed: bool) -> None:
        """A request is over there; `computed` if its prompt was."""
        self.inflight -= 1
        self.ended_s.append(at_s)
        if computed:
            self.queue.done(ticket)
        else:
            self.queue.drop(ticket)

    def took(self, latency_s: float, answer_tokens: int | None, alpha: float) -> None:
        """A request was served in that time."""
        if answer_tokens is not None:
            self.answer_tokens += alpha * (min(answer_tokens, 1 << 20) - self.answer_tokens)
        self.latency_s = latency_s if self.latency_s is None else self.latency_s + alpha * (latency_s - self.latency_s)

    def report(self, running: int, waiting: int, kv_usage: float, at_s: float) -> None:
        """The engine's own count. What of it is not ours came past this gateway."""
        if at_s < self.reported_s:
            return
        self.kv_usage = kv_usage
        ours = self.inflight + sum(1 for ended_s in self.ended_s if ended_s >= at_s)
        self.strangers = max(0, running + waiting - ours)
        self.strangers_waiting = min(waiting, self.strangers)
        self.reported_s = at_s

    def _typical_work_s(self, now_s: float) -> float:
        arrivals = self.arrivals.per_s(now_s)
        return self.work.per_s(now_s) / arrivals if arrivals else self.speed.base_s

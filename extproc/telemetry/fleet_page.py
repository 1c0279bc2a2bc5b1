"""The fleet's state as metrics, read at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from extproc.fleet.replica import ReplicaState
from extproc.fleet.state import Fleet
from extproc.fleet.tiers import Tier
from extproc.telemetry.instruments import Family, Reading, gauge

_NO_FAULTS = {"impossible time": 0, "impossible usage": 0, "unmatched report": 0}
"""Counted from the start, so that the first one is seen as a rise."""
_Read = Callable[[Fleet, ReplicaState, float], float | None]

_PER_REPLICA: tuple[tuple[str, str, _Read], ...] = (
    (
        "kvgate_replica_inflight_requests",
        "Requests sent to the replica that have not ended.",
        lambda fleet, state, now_s: state.inflight,
    ),
    (
        "kvgate_replica_wait_seconds",
        "Predicted seconds until a prompt sent there now would be computed.",
        lambda fleet, state, now_s: state.wait_s(now_s),
    ),
    (
        "kvgate_replica_queued_tokens",
        "Prompt tokens still to be computed there, as estimated.",
        lambda fleet, state, now_s: state.queued_tokens,
    ),
    (
        "kvgate_replica_prefill_tokens_per_second",
        "Prefill speed, as learned from times to first token.",
        lambda fleet, state, now_s: state.speed.tokens_per_s,
    ),
    (
        "kvgate_replica_base_seconds",
        "Seconds to the first token of a prompt with nothing to compute or to wait for, as learned.",
        lambda fleet, state, now_s: state.speed.base_s,
    ),
    (
        "kvgate_replica_index_tokens",
        "Tokens that its KV cache is believed to hold or to be about to.",
        lambda fleet, state, now_s: fleet.index.tokens(state.name),
    ),
    (
        "kvgate_replica_index_blocks",
        "Fingerprint blocks that its KV cache is believed to hold.",
        lambda fleet, state, now_s: fleet.index.held_blocks(state.name),
    ),
    (
        "kvgate_replica_capacity_tokens",
        "Prompt tokens that its KV cache is believed to have room for; absent while unknown.",
        lambda fleet, state, now_s: state.capacity.tokens,
    ),
    (
        "kvgate_replica_host_tier_tokens",
        "Tokens that the host tier behind it is believed to hold, the same for all that share it; absent without one.",
        lambda fleet, state, now_s: tier.tokens if (tier := fleet.index.tier(state.name)) else None,
    ),
    (
        "kvgate_replica_restore_tokens_per_second",
        "How fast it restores from the host tier, as learned from times to first token; absent without one.",
        lambda fleet, state, now_s: _restore_rate(fleet, state, fleet.index.tier(state.name)),
    ),
    (
        "kvgate_replica_remote_tier_tokens",
        "Tokens that the remote tier is believed to hold, the same for all that reach it; absent for others.",
        lambda fleet, state, now_s: tier.tokens if (tier := fleet.index.tier(state.name, "remote")) else None,
    ),
    (
        "kvgate_replica_remote_restore_tokens_per_second",
        "How fast it restores from the remote tier, as learned from times to first token; absent without one.",
        lambda fleet, state, now_s: _restore_rate(fleet, state, fleet.index.tier(state.name, "remote")),
    ),
    (
        "kvgate_replica_eligible",
        "Whether the replica may be given requests: 1, or 0 while it is draining, unproven or set aside.",
        lambda fleet, state, now_s: state.proven and not state.draining,
    ),
)


def _restore_rate(fleet: Fleet, state: ReplicaState, tier: Tier | None) -> float | None:
    """Of the model that the replica was last asked for."""
    return fleet.restore_rate(state, state.model, tier.kind).tokens_per_s if tier else None


class FleetPage:
    """Reads a fleet; to be called on the thread that applies its events.

    Args:
        now_s: the time on the clock of those events.
    """

    title = "Fleet"

    def __init__(self, fleet: Fleet, now_s: Callable[[], float]) -> None:
        self._fleet = fleet
        self._now_s = now_s

    def families(self) -> Iterator[Family]:
        fleet, now_s = self._fleet, self._now_s()
        yield gauge("kvgate_inflight_requests", "Requests routed that have not ended.", fleet.outstanding)
        yield gauge("kvgate_index_blocks", "Distinct fingerprint blocks in the cache index.", len(fleet.index))
        yield Reading(
            "kvgate_faults_total",
            "counter",
            "Reports and replies that could not be believed or matched, by kind.",
            ("kind",),
            [((kind,), count) for kind, count in sorted({**_NO_FAULTS, **fleet.faults}.items())],
        )
        for name, text, read in _PER_REPLICA:
            samples = []
            for state in fleet.replicas.values():
                value = read(fleet, state, now_s)
                if value is not None:
                    samples.append(((state.name,), value))
            yield Reading(name, "gauge", text, ("replica",), samples)

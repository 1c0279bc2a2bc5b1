"""The configuration -> which replicas exist, and what is behind their caches."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.config.topology import Replica
from extproc.fleet.events import HostTierReported, RemoteTierReported, ReplicaDown, ReplicaDraining, ReplicaUp
from extproc.fleet.replica import ReplicaState


def changes(
    before: Mapping[str, ReplicaState], after: Mapping[str, Replica], at_s: float
) -> list[ReplicaDown | ReplicaUp | ReplicaDraining | HostTierReported | RemoteTierReported]:
    """The events that make of the fleet what the configuration says; replicas that stay as they are have none.

    >>> old = {"a": ReplicaState("a"), "b": ReplicaState("b")}
    >>> new = {"b": Replica("b", "10.0.0.2", 8000), "c": Replica("c", "10.0.0.3", 8000)}
    >>> changes(old, new, 1.0)
    [ReplicaUp(at_s=1.0, replica='c', proven=False), ReplicaDown(at_s=1.0, replica='a')]

    Who leaves does so last: a tier that a newcomer shares outlives it.
    """
    gone = [ReplicaDown(at_s, name) for name in before if name not in after]
    come = [ReplicaUp(at_s, name, proven=False) for name in after if name not in before]
    back = [
        ReplicaUp(at_s, name, proven=state.proven)
        for name, state in before.items()
        if state.draining and name in after and not after[name].draining
    ]
    drained = [
        ReplicaDraining(at_s, name)
        for name, replica in after.items()
        if replica.draining and not (name in before and before[name].draining)
    ]
    known = {name: state.host_tier for name, state in before.items()}
    tiers = [
        HostTierReported(at_s, name, replica.host_tier)
        for name, replica in after.items()
        if replica.host_tier != known.get(name)
    ]
    reached = {name: state.remote_cache_tokens for name, state in before.items()}
    stores = [
        RemoteTierReported(at_s, name, replica.remote_cache_tokens)
        for name, replica in after.items()
        if replica.remote_cache_tokens != reached.get(name)
    ]
    return [*come, *back, *drained, *tiers, *stores, *gone]

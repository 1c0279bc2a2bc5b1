"""The configuration -> which replicas exist."""

from __future__ import annotations

from collections.abc import Iterable

from extproc.fleet.events import ReplicaDown, ReplicaUp


def changes(before: Iterable[str], after: Iterable[str], at_s: float) -> list[ReplicaDown | ReplicaUp]:
    """The events that turn one set of replica names into another; replicas in both are left as they are.

    >>> changes(["a", "b"], ["b", "c"], 1.0)
    [ReplicaDown(at_s=1.0, replica='a'), ReplicaUp(at_s=1.0, replica='c', proven=False)]
    """
    old, new = list(before), list(after)
    gone = [ReplicaDown(at_s, name) for name in old if name not in new]
    come = [ReplicaUp(at_s, name, proven=False) for name in new if name not in old]
    return [*gone, *come]

"""`kvgate replicas`: the replicas of a running gateway, and changes to them."""

from __future__ import annotations

import sys
import time
from typing import Any

from extproc.admin.v1 import admin_pb2 as pb
from extproc.config.topology import RANK_MARK
from extproc.console.link import Link, Refusal, as_data
from extproc.console.table import as_table, count, seconds, share

_POLL_S = 0.25
_NUMBERS = ("WEIGHT", "IN FLIGHT", "WAIT", "QUEUED", "WARM", "CACHED", "ROUTED", "LATENCY")
_HEADINGS = ("NAME", "STATE", "ADDRESS", "PROVIDER", *_NUMBERS, "FROM")


class NotEmptied(RuntimeError):
    """Requests were left when the time was up."""

    exit_status = 4


def listed(link: Link) -> list[dict[str, Any]]:
    """All of them."""
    found: list[dict[str, Any]] = as_data(link.ask(lambda stub: stub.ListReplicas, pb.ListReplicasRequest()))[
        "replicas"
    ]
    return found


def as_lines(replicas: list[dict[str, Any]]) -> str:
    """For a person."""
    return as_table(_HEADINGS, [_row(each) for each in replicas], right=_NUMBERS)


def add(link: Link, provider: str, url: str, name: str, weight: float) -> dict[str, Any]:
    """A further one."""
    request = pb.AddReplicaRequest(provider=provider, url=url, name=name, weight=weight)
    return as_data(link.ask(lambda stub: stub.AddReplica, request))


def remove(link: Link, name: str, *, force: bool) -> dict[str, Any]:
    """One less."""
    return as_data(link.ask(lambda stub: stub.RemoveReplica, pb.RemoveReplicaRequest(name=name, force=force)))


def drain(link: Link, name: str, *, force: bool) -> dict[str, Any]:
    """Nothing new for it."""
    return as_data(link.ask(lambda stub: stub.DrainReplica, pb.DrainReplicaRequest(name=name, force=force)))


def undrain(link: Link, name: str) -> dict[str, Any]:
    """Requests again."""
    return as_data(link.ask(lambda stub: stub.UndrainReplica, pb.UndrainReplicaRequest(name=name)))


def set_weight(link: Link, name: str, weight: float) -> dict[str, Any]:
    """Another share of traffic."""
    return as_data(link.ask(lambda stub: stub.SetReplicaWeight, pb.SetReplicaWeightRequest(name=name, weight=weight)))


def wait_until_empty(link: Link, name: str, timeout_s: float | None) -> dict[str, Any]:
    """Waits until a replica has ended what it had; shows how many requests are left, where somebody looks.

    Raises:
        NotEmptied: the time is up.
        Refusal: it is gone.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        replica = _one(link, name)
        most = replica["inflight"]
        task = progress.add_task(f"requests ended on {name}", total=most)
        while replica["inflight"] > 0:
            most = max(most, replica["inflight"])
            progress.update(task, total=most, completed=most - replica["inflight"])
            if give_up_s is not None and time.monotonic() > give_up_s:
                raise NotEmptied(f"{replica['inflight']} requests are left on {name}; it goes on draining")
            time.sleep(_POLL_S)
            replica = _one(link, name)
    return replica


def _one(link: Link, name: str) -> dict[str, Any]:
    """A replica, with the requests of all its data-parallel ranks."""
    process = name.partition(RANK_MARK)[0]
    found = [each for each in listed(link) if each["name"].partition(RANK_MARK)[0] == process]
    if not found:
        raise Refusal(f"not found: {name} has left the fleet")
    return {**found[0], "inflight": sum(each["inflight"] for each in found)}


def _row(replica: dict[str, Any]) -> tuple[str, ...]:
    others = replica["others_inflight"]
    return (
        replica["name"],
        replica["state"],
        replica["address"],
        replica["provider"],
        f"{replica['weight']:g}",
        f"{replica['inflight']}+{others}" if others else str(replica["inflight"]),
        seconds(replica["wait_s"]),
        count(replica["queued_tokens"]),
        share(replica["warm_share"]),
        count(replica["index_tokens"]),
        count(replica["routed"]),
        seconds(replica["latency_s"]) if replica["latency_s"] else "-",
        f"{replica['from']}, changed" if replica["changed"] else replica["from"],
    )

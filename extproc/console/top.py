"""`kvgate top`: a running gateway on one screen, again and again."""

from __future__ import annotations

import sys
import time

import orjson
from rich.console import Console
from rich.live import Live

from extproc.admin.v1 import admin_pb2 as pb
from extproc.console.link import Link, Unreachable, Whereabouts, as_data, open_link
from extproc.console.top_view import Look, view

_DECISIONS = 12
_WIDE = 130
"""Columns where nobody says how many there are."""


def once(link: Link, before: tuple[float, Look] | None = None) -> Look:
    """One look.

    Args:
        before: the look before, and when that was on the monotonic clock.
    """
    stats = as_data(link.ask(lambda stub: stub.GetStats, pb.GetStatsRequest()))
    rate = None
    if before is not None:
        passed_s = time.monotonic() - before[0]
        rate = max(0.0, stats["requests"] - before[1].stats["requests"]) / passed_s if passed_s > 0 else None
    decisions = as_data(link.ask(lambda stub: stub.ListDecisions, pb.ListDecisionsRequest(limit=_DECISIONS)))
    return Look(
        status=as_data(link.ask(lambda stub: stub.GetStatus, pb.GetStatusRequest())),
        stats=stats,
        replicas=as_data(link.ask(lambda stub: stub.ListReplicas, pb.ListReplicasRequest()))["replicas"],
        decisions=decisions["decisions"],
        requests_per_s=rate,
    )


def run(where: Whereabouts, *, interval_s: float, one_look: bool, json: bool) -> None:
    """Shows looks until Ctrl-C; just one where asked to, or where nobody watches a screen.

    Raises:
        Unreachable: the gateway is not there to begin with.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    with open_link(where) as link:
        look = once(link)
        seen = time.monotonic(), look
        if one_look or not (json or console.is_terminal):
            if json:
                _print_json(look)
            else:
                console.print(view(look))
            return
        if json:
            while True:
                _print_json(look)
                time.sleep(interval_s)
                look = once(link, seen)
                seen = time.monotonic(), look
        with Live(view(look), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval_s)
                try:
                    look, note = once(link, seen), ""
                    seen = time.monotonic(), look
                except Unreachable as error:
                    note = f"{error}; trying again"
                live.update(view(look, note), refresh=True)


def _print_json(look: Look) -> None:
    """One line, so that it can be read as it comes."""
    sys.stdout.buffer.write(orjson.dumps(look.as_data(), option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()

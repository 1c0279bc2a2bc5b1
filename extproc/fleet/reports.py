"""Precise mode's half of a look-up: what engines say they hold of a prompt takes the place of what is believed."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.fleet.blocks import ReportedBlocks
from extproc.fleet.lookup import Lookup
from extproc.fleet.replica import ReplicaState
from extproc.prefix.exact import ExactPrompt, may_go_on


def with_reports(
    believed: Lookup, blocks: ReportedBlocks, replicas: Mapping[str, ReplicaState], prompt: ExactPrompt
) -> Lookup:
    """The look-up as it is with what the replicas' feeds know.

    A replica without a feed, or whose feed is down, keeps what is believed of it. Of a remote tier no engine tells.
    """
    reported = blocks.look_up(prompt)
    tokens, hosts = dict(believed.tokens), dict(believed.behind.get("host", {}))
    host_sizes = blocks.host_block_sizes()
    for name, state in replicas.items():
        feed = blocks.state(name)
        if feed == "down":
            continue
        # Behind what is known of the prompt, and beside what is known of the cache, belief is all there is.
        matched = reported.tokens.get(name, 0)
        size = blocks.block_size(name)
        _take_over(tokens, name, matched, feed == "partial" or may_go_on(prompt, matched, size))
        host_size = host_sizes.get(name)
        if state.host_tier is not None and host_size is not None:
            matched = reported.behind.get(name, 0)
            _take_over(hosts, name, matched, feed == "partial" or may_go_on(prompt, matched, host_size))
    return believed._replace(tokens=tokens, behind={**believed.behind, "host": hosts})


def _take_over(tokens: dict[str, int], replica: str, reported: int, believed: bool) -> None:
    """Puts what an engine says of a replica in the place of what is believed, or beside it."""
    known = max(reported, tokens.get(replica, 0)) if believed else reported
    if known:
        tokens[replica] = known
    else:
        tokens.pop(replica, None)

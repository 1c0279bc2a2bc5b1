"""KV events of all replicas, from ZMQ into the fleet.

Each feed is followed by a task of its own. What arrives is folded in by slices of some milliseconds, one slice of one
feed at a time, so a burst delays requests by no more than a slice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

import zmq

from extproc.clock import Clock
from extproc.config.topology import KvFeed
from extproc.fleet.feeds.kv_events.following import ANSWER_WITHIN_S, IDLE_S, FaultKind, Following, KvEvent

__all__ = ["FaultKind", "KvEvent", "KvEvents"]

log = logging.getLogger(__name__)

_LOOK_FOR_CHANGES_S = 0.5


class KvEvents:
    """Follows the KV events of every replica that has a feed, for ever.

    Args:
        feeds: gives the feed of each replica by name; asked again and again.
        apply: takes the events.
        faults: counts what went wrong, by replica and kind.
        ranks: of a feed that several data-parallel ranks share, the replicas that they are, by the feed's own replica.
        idle_s: after so long without a batch, a feed is asked whether it is still the one it was.
        answer_within_s: for the replay socket, from one batch to the next.
    """

    def __init__(
        self,
        feeds: Callable[[], Mapping[str, KvFeed]],
        apply: Callable[[KvEvent], None],
        clock: Clock,
        faults: Callable[[str, FaultKind], None],
        *,
        ranks: Callable[[], Mapping[str, Mapping[int, str]]] = dict,
        idle_s: float = IDLE_S,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._feeds = feeds
        self._apply = apply
        self._clock = clock
        self._faults = faults
        self._ranks = ranks
        self._idle_s = idle_s
        self._answer_within_s = answer_within_s

    async def run(self) -> None:
        """Follows until cancelled; takes feeds up and lets go of them as they change."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        turns = asyncio.Lock()
        tasks: dict[tuple[str, KvFeed], asyncio.Task[None]] = {}
        try:
            while True:
                wanted = set(self._feeds().items())
                over = [key for key, task in tasks.items() if key not in wanted or task.done()]
                await _end([tasks.pop(key) for key in over])
                for name, feed in sorted(wanted - tasks.keys(), key=lambda each: each[0]):
                    ranks = self._ranks().get(name, {})
                    following = Following(
                        name,
                        feed,
                        ranks,
                        self._told(name),
                        self._apply,
                        self._clock,
                        idle_s=self._idle_s,
                        answer_within_s=self._answer_within_s,
                    )
                    tasks[name, feed] = asyncio.create_task(following.run(context, turns))
                await asyncio.sleep(_LOOK_FOR_CHANGES_S)
        finally:
            await _end(tasks.values())
            context.term()

    def _told(self, name: str) -> Callable[[FaultKind], None]:
        def count(kind: FaultKind) -> None:
            self._faults(name, kind)

        return count


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Ends tasks. One that failed is told of here, and is begun anew if its feed is still wanted."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("following a replica's KV events failed", exc_info=outcome)

"""One feed: from its sockets into the fleet, by slices of some milliseconds.

What the slices leave behind waits in ZMQ's queues; when those are full, batches are lost, which the numbers of the
next ones show. An engine that is gone is noticed by its connection, one that came back as another by asking for the
batch that was taken last: see `sequence.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

import zmq
from zmq.utils.monitor import parse_monitor_message

from extproc.clock import Clock
from extproc.config.topology import KvFeed
from extproc.fleet.events import CacheCleared
from extproc.fleet.feeds.kv_events import wire
from extproc.fleet.feeds.kv_events.inbox import Frames, Inbox, wait
from extproc.fleet.feeds.kv_events.sequence import Anew, Ask, Sequence, Step, Take
from extproc.fleet.kv_events import BlocksRemoved, BlocksStored, FeedReported, FeedState

log = logging.getLogger(__name__)

KvEvent = BlocksStored | BlocksRemoved | CacheCleared | FeedReported

FaultKind = Literal["malformed frames", "malformed batch", "malformed event", "gap", "restart", "replay failed"]

_SLICE_S = 0.002
_GATHER_S = 0.01
"""After a slice that left nothing, so that many small batches wake the loop no more often than this."""

IDLE_S = 10.0
ANSWER_WITHIN_S = 2.0
_REPLAYS_IN_A_ROW = 8
_PARTS_OF_A_REPLAY = 200
"""A publisher's queue drops what is beyond some 1,000 batches, the last word among it: a long ring comes in parts."""

_PAUSE_S = 0.5
"""Within an answer, a pause this long is its end."""

_MOST_REPLAYED = 100_000
_QUEUE = 4_096
_REPLAY_QUEUE = 20_000
_MOST_BYTES = 16 << 20
_HEARTBEAT_MS = 3_000
_RECONNECT_MS = 100
_RECONNECT_MOST_MS = 2_000
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_END = b"\xff" * 8


class Following:
    """One feed, followed.

    Args:
        ranks: of a feed that several data-parallel ranks share, the replicas that they are.
        idle_s: after so long without a batch, it is asked whether it is still the one it was.
        answer_within_s: for the replay socket, from one batch to the next.
    """

    def __init__(
        self,
        replica: str,
        feed: KvFeed,
        ranks: Mapping[int, str],
        fault: Callable[[FaultKind], None],
        apply: Callable[[KvEvent], None],
        clock: Clock,
        *,
        idle_s: float = IDLE_S,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._replica = replica
        self._feed = feed
        self._ranks = ranks
        self._fault = fault
        self._apply = apply
        self._clock = clock
        self._idle_s = idle_s
        self._answer_within_s = answer_within_s
        self._sequence = Sequence(replayable=feed.replay_url is not None)
        self._told: FeedState = "down"
        self._connected = False
        self._turns = asyncio.Lock()

    async def run(self, context: zmq.Context[zmq.Socket[bytes]], turns: asyncio.Lock) -> None:
        """Follows until cancelled.

        Args:
            turns: held for a slice at a time; all feeds share it.
        """
        self._turns = turns
        wake = asyncio.Event()
        socket = _socket(context, zmq.SUB, _QUEUE)
        socket.subscribe(self._feed.topic.encode())
        monitor = Inbox(socket.get_monitor_socket(_WATCHED), wake)
        live = Inbox(socket, wake)
        try:
            socket.connect(self._feed.url)
            self._tell("down")
            missed = False
            while True:
                heard = await wait(wake, self._idle_s)
                if self._connected:
                    missed = False
                elif not (heard or missed):
                    missed = True
                    log.warning("replica %s: nobody publishes KV events at %s", self._replica, self._feed.url)
                if self._connection_changed(monitor) or (self._connected and not heard):
                    await self._catch_up(context)
                await self._drain(context, live)
                self._say()
                if heard:
                    await asyncio.sleep(_GATHER_S)
        finally:
            socket.disable_monitor()
            monitor.close()
            live.close()

    def _connection_changed(self, monitor: Inbox) -> bool:
        """Whether a connection has come up that was not there before."""
        up = False
        while frames := monitor.take():
            kind = parse_monitor_message(frames)["event"]
            up = self._connected = kind == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if not up:
                log.info("replica %s: KV events cannot be heard", self._replica)
                self._report("down")
        return up

    async def _drain(self, context: zmq.Context[zmq.Socket[bytes]], live: Inbox) -> None:
        """Folds in what has arrived, slice by slice."""
        while True:
            async with self._turns:
                began_s = time.perf_counter()
                pending = self._slice(live, began_s + _SLICE_S)
                took_s = time.perf_counter() - began_s
                if pending is None and took_s < _SLICE_S:
                    return
                # Whoever else is ready comes first; others' slices come after that.
                await asyncio.sleep(took_s)
            if pending is not None:
                await self._fill_gap(context, *pending)

    def _slice(self, live: Inbox, until_s: float) -> tuple[int, bytes] | None:
        """Takes batches until the time is up or there are no more; returns the one that has a gap before it."""
        while time.perf_counter() < until_s and (frames := live.take()) is not None:
            numbered = self._numbered(frames)
            if numbered is not None and not self._steps(self._sequence.live(*numbered)):
                return numbered
        return None

    async def _fill_gap(self, context: zmq.Context[zmq.Socket[bytes]], number: int, payload: bytes) -> None:
        """Asks for what came before a batch, then takes the batch."""
        if self._sequence.synced:
            self._fault("gap")
        for _ in range(_REPLAYS_IN_A_ROW):
            await self._catch_up(context)
            if self._steps(self._sequence.live(number, payload)):
                return
        self._sequence.replay_failed()
        self._steps(self._sequence.live(number, payload))

    async def _catch_up(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Asks the replay socket for what is missing, until there is nothing more.

        That an answer came to its end does not mean that nothing was dropped from it.
        """
        for _ in range(_PARTS_OF_A_REPLAY):
            ask, before = self._sequence.ask(), self._sequence.next_number
            if ask is None:
                return
            ended = await self._replay(context, ask)
            if self._sequence.next_number != before:
                continue
            if ended:
                self._say()
                return
            if ended is None:
                break
        self._fault("replay failed")
        self._sequence.replay_failed()

    async def _replay(self, context: zmq.Context[zmq.Socket[bytes]], ask: Ask) -> bool | None:
        """Takes in one answer of the replay socket.

        Returns:
            Whether that was all; None if no answer came, or not to its end.
        """
        wake = asyncio.Event()
        socket = _socket(context, zmq.DEALER, _REPLAY_QUEUE)
        inbox = Inbox(socket, wake)
        try:
            socket.connect(self._feed.replay_url or "")
            inbox.send(b"", ask.first.to_bytes(8, "big"))
            began_s, patience_s = time.perf_counter(), self._answer_within_s
            for _ in range(_MOST_REPLAYED):
                while (frames := inbox.take()) is None:
                    if not await wait(wake, patience_s):
                        return None
                    began_s = time.perf_counter()
                patience_s = min(patience_s, _PAUSE_S)
                if len(frames) >= 2 and frames[-2] == _END:
                    return self._steps(self._sequence.replay_ended())
                numbered = self._numbered(frames)
                if numbered is not None and not self._steps(self._sequence.replayed(*numbered)):
                    return False
                if (took_s := time.perf_counter() - began_s) > _SLICE_S:
                    async with self._turns:
                        await asyncio.sleep(took_s)
                    began_s = time.perf_counter()
            return None
        finally:
            inbox.close()

    def _numbered(self, frames: Frames) -> tuple[int, bytes] | None:
        """Number and payload of a batch: its last two frames, whatever came before them."""
        if 2 <= len(frames) <= 4 and len(frames[-2]) == 8:
            return int.from_bytes(frames[-2], "big"), frames[-1]
        self._fault("malformed frames")
        return None

    def _steps(self, steps: list[Step]) -> bool:
        """Does what the sequence says. False if that ends with asking for something."""
        for step in steps:
            match step:
                case Take():
                    self._take(step.payload)
                case Anew():
                    self._begin_anew(step)
                case Ask():
                    return False
        return True

    def _begin_anew(self, step: Anew) -> None:
        now_s = self._clock.now()
        if step.restarted:
            self._fault("restart")
            log.info("replica %s: its engine is another one, and holds nothing", self._replica)
        for name in self._names():
            if step.restarted:
                self._apply(CacheCleared(now_s, name))
            self._apply(FeedReported(now_s, name, "partial", anew=True))
        self._told = "partial"

    def _take(self, payload: bytes) -> None:
        try:
            batch = wire.read(payload)
        except ValueError:
            self._fault("malformed batch")
            return
        name = self._replica if batch.rank is None else self._ranks.get(batch.rank, self._replica)
        for event in batch.events(name, self._clock.now()):
            if event is None:
                self._fault("malformed event")
                continue
            self._apply(event)
            if isinstance(event, CacheCleared):
                self._sequence.cleared()

    def _say(self) -> None:
        if self._connected and self._sequence.synced:
            self._report("whole" if self._sequence.whole else "partial")

    def _report(self, state: FeedState) -> None:
        if state != self._told:
            self._tell(state)

    def _tell(self, state: FeedState) -> None:
        self._told = state
        for name in self._names():
            self._apply(FeedReported(self._clock.now(), name, state))

    def _names(self) -> list[str]:
        return [self._replica, *(name for name in self._ranks.values() if name != self._replica)]


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, queue: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.RCVHWM, queue)
    socket.setsockopt(zmq.MAXMSGSIZE, _MOST_BYTES)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MOST_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * _HEARTBEAT_MS)
    return socket

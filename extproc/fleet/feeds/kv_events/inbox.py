"""ZMQ sockets read from an asyncio loop without a future for each message.

A ZMQ descriptor says only that something has happened; what, the socket must be asked. So it is drained until it has
nothing more, and only then is the next word from the descriptor waited for.
"""

from __future__ import annotations

import asyncio

import zmq

Frames = list[bytes]


class Inbox:
    """What arrives on a socket. Must be built inside a running event loop; owns the socket.

    Args:
        wake: set whenever there may be something to take; several inboxes may share one.
    """

    def __init__(self, socket: zmq.Socket[bytes], wake: asyncio.Event) -> None:
        self._socket = socket
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._descriptor = socket.fileno()
        self._loop.add_reader(self._descriptor, self._stirred)
        # A queue that was never found empty does not say when it is filled.
        self._stirred()

    def take(self) -> Frames | None:
        """The next message; None if there is none."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def send(self, *frames: bytes) -> None:
        """Queues a message.

        Raises:
            zmq.ZMQError: the queue is full.
        """
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        # Sending may swallow the descriptor's word that something has come.
        self._stirred()

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._socket.close(linger=0)

    def _stirred(self) -> None:
        if self._socket.poll(0):
            self._wake.set()


async def wait(wake: asyncio.Event, timeout_s: float) -> bool:
    """Waits for the event and resets it; False if it did not come in time."""
    timer = None
    late: list[bool] = []
    if not wake.is_set():

        def lapse() -> None:
            late.append(True)
            wake.set()

        timer = asyncio.get_running_loop().call_later(timeout_s, lapse)
    try:
        await wake.wait()
    finally:
        if timer is not None:
            timer.cancel()
    wake.clear()
    return not late

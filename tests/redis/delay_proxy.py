"""A slow network in front of Redis: all that it answers arrives so much later."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from urllib.parse import urlsplit


class DelayProxy:
    """Passes bytes on, the server's `delay_s` after they came, in order. A new delay is for what comes then.

    Args:
        url: of the real server.

    Attributes:
        answers: pieces that the server has sent.
    """

    def __init__(self, url: str) -> None:
        server = urlsplit(url)
        self._server = (server.hostname or "127.0.0.1", server.port or 6379)
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0
        self.answers = 0

    async def __aenter__(self) -> DelayProxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_connection(*self._server)
            try:
                await asyncio.gather(_pass_on(reader, there_writer), self._late(there_reader, writer))
            finally:
                there_writer.close()
        writer.close()

    async def _late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_s, content = await waiting.get()
                await asyncio.sleep(due_s - loop.time())
                writer.write(content)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while content := await reader.read(65536):
                self.answers += 1
                waiting.put_nowait((loop.time() + self.delay_s, content))
        finally:
            delivery.cancel()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(65536):
        writer.write(content)
        await writer.drain()
    writer.close()

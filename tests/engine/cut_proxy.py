"""A connection that can be cut: in front of an engine's events."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from typing_extensions import Self


class CutProxy:
    """Passes bytes on to a port of this machine, both ways, until it is cut.

    Args:
        port: of the real server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = True
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        await self.cut()

    async def cut(self) -> None:
        """Ends all connections, and every new one at once."""
        self._whole = False
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def mend(self) -> None:
        """New connections are passed on again."""
        self._whole = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            if self._whole:
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
                with contextlib.closing(there_writer):
                    await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(65536):
        writer.write(content)
        await writer.drain()
    writer.close()

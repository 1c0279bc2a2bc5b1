"""As much of an HTTP/2 client as one GET needs."""

from __future__ import annotations

import asyncio
import ssl

import h2.connection
import h2.events


async def get(host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> tuple[int, dict[str, str]]:
    """Status and headers; over cleartext by prior knowledge."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        scheme = "https" if tls else "http"
        request = {":method": "GET", ":scheme": scheme, ":authority": f"{host}:{port}", ":path": path}
        connection.send_headers(1, list(request.items()), end_stream=True)
        writer.write(connection.data_to_send())
        headers: dict[str, str] = {}
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {_text(key): _text(value) for key, value in event.headers}
                elif isinstance(event, h2.events.StreamEnded):
                    return int(headers.pop(":status")), headers
            writer.write(connection.data_to_send())
        raise ConnectionError("closed before the answer was complete")
    finally:
        writer.close()
        await writer.wait_closed()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value

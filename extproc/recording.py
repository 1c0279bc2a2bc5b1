"""Settings -> the request log and the traces, or neither. Used by `server.py` alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from extproc.config.observability import Telemetry
from extproc.gateway.gateway import Gateway
from extproc.gateway.processor import ExternalProcessor
from extproc.gateway.traced import TracedProcessor
from extproc.telemetry.lines import Lines
from extproc.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from extproc.telemetry.tracing import Tracing

log = logging.getLogger(__name__)


class Recording:
    """What is recorded of single requests.

    Attributes:
        request_log: None if there is none.

    Raises:
        OSError: the request log cannot be opened.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._lines = Lines(telemetry.log_file) if telemetry.logged else None
        self.request_log = RequestLog(self._lines.put) if self._lines is not None else None
        self._tracing = _tracing(telemetry) if telemetry.traced else None

    def processor(self, gateway: Gateway, took: Callable[[str, float], None]) -> ExternalProcessor:
        """The service that Envoy asks."""
        if self._tracing is None:
            return ExternalProcessor(gateway, took)
        return TracedProcessor(gateway, took, self._tracing.record)

    def dropped(self) -> dict[str, int]:
        """What was not recorded, since it could not be taken in time."""
        dropped = {}
        if self._lines is not None:
            dropped["request_log"] = self._lines.dropped
        if self._tracing is not None:
            dropped["traces"] = self._tracing.dropped
        return dropped

    def reopen(self) -> None:
        """The file of the request log has been rotated."""
        if self._lines is not None:
            self._lines.reopen()

    async def close(self) -> None:
        """Records what waits, for a few seconds at most."""
        closing = [part.close for part in (self._lines, self._tracing) if part is not None]
        await asyncio.gather(*(asyncio.to_thread(close) for close in closing))


def _tracing(telemetry: Telemetry) -> Tracing | None:
    try:
        from extproc.telemetry.tracing import Tracing, collector

        exporter = collector(telemetry.export_url, telemetry.otlp_protocol)
    except ImportError as missing:
        log.error(
            "traces will lack the processor's part: pip install 'kvgate[otel]', and then, since xds-protos brings "
            "older files of the same names, pip install --force-reinstall --no-deps opentelemetry-proto (%s)",
            missing,
        )
        return None
    return Tracing(exporter, telemetry.service_name)

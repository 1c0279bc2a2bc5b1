"""How long the processor takes for each of Envoy's messages: what it adds to a request."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.telemetry.instruments import Family, Histogram, Spread

_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1.0)
_NAMES = {"request_headers": "headers", "request_body": "body"}


class Phases:
    """Counts messages by phase: headers, body (in which an equal request's answer may be waited for), response."""

    title = "Processor latency"

    def __init__(self) -> None:
        self._seconds = Histogram(
            "kvgate_processor_seconds",
            "Time to answer one of Envoy's messages, by phase: headers, body (waiting for an equal request included), "
            "response.",
            _SECONDS,
            "phase",
        )
        self._phases: dict[str, Spread] = {message: self._seconds.of(name) for message, name in _NAMES.items()}
        self._response = self._seconds.of("response")

    def took(self, message: str, seconds: float) -> None:
        """A message, named as in ext_proc's `ProcessingRequest`, was answered."""
        self._phases.get(message, self._response).observe(seconds)

    def families(self) -> Iterator[Family]:
        yield self._seconds

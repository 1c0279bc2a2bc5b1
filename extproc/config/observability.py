"""What the gateway tells of single requests: spans to a collector, and a line each in the request log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, model_validator

from .section import Section


def _as_written(value: object) -> object:
    return "off" if value is False else value  # YAML takes a bare `off` for a boolean


def _target(value: str) -> str:
    if value not in ("off", "stdout") and "/" not in value:
        raise ValueError(
            "must be off, stdout, or a file's path with a slash in it, such as /var/log/kvgate/requests.log"
        )
    return value


RequestLogTarget = Annotated[str, BeforeValidator(_as_written), AfterValidator(_target)]


class Telemetry(Section):
    """Traces and the request log. Neither ever holds prompts, answers, keys or media."""

    otlp_endpoint: HttpUrl | None = Field(
        None,
        description="of an OpenTelemetry collector; default: no traces",
        examples=["http://collector:4317"],
    )
    otlp_protocol: Literal["grpc", "http"] = Field(
        "grpc", description="grpc, usually port 4317, or http: protobuf to /v1/traces below the endpoint, usually 4318"
    )
    sample_ratio: float = Field(
        1.0, ge=0, le=1, description="share of traces that are begun here and recorded; a client's own decision holds"
    )
    service_name: str = Field("kvgate", min_length=1, max_length=128)
    request_log: RequestLogTarget = Field(
        "off", description="one line of JSON a request: off, stdout, or a file, which may be rotated"
    )

    @model_validator(mode="after")
    def _endpoint_is_an_origin(self) -> Telemetry:
        url = self.otlp_endpoint
        if url is not None and self.otlp_protocol == "grpc" and url.path not in (None, "", "/"):
            raise ValueError("otlp_endpoint: a path means nothing to gRPC; otlp_protocol: http takes one")
        if url is not None and (url.query or url.fragment or url.username):
            raise ValueError("otlp_endpoint: give scheme, host and port, and for http a path")
        return self

    @property
    def traced(self) -> bool:
        """Whether there are traces at all."""
        return self.otlp_endpoint is not None

    @property
    def export_url(self) -> str:
        """Where spans are sent: the origin, and over HTTP `/v1/traces` below the endpoint."""
        url = str(self.otlp_endpoint).rstrip("/")
        return url if self.otlp_protocol == "grpc" or url.endswith("/v1/traces") else f"{url}/v1/traces"

    @property
    def log_file(self) -> Path | None:
        """The request log, if it is a file."""
        return None if self.request_log in ("off", "stdout") else Path(self.request_log)

    @property
    def logged(self) -> bool:
        """Whether there is a request log."""
        return self.request_log != "off"

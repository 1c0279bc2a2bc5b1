"""OpenTelemetry's metrics of generative AI, as Prometheus spells them.

Names, attributes and buckets: semantic conventions v1.37.0, docs/gen-ai/gen-ai-metrics.md (status: development). Dots
become underscores and the unit a suffix; `{token}` is an annotation, no unit. The provider is the configured name: no
well-known value says vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.metering.metering import Metered
from extproc.telemetry.instruments import MOST_MODELS, OTHER, Family, Histogram, Spread

_TOKENS = tuple(4**exponent for exponent in range(14))
_DURATION_S = tuple(round(0.01 * 2**exponent, 2) for exponent in range(14))
_TTFT_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/responses": "chat",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "chat",
}
_CLIENT_LEFT = "client_disconnected"


class GenAi:
    """Counts requests that were sent to a replica."""

    title = "OpenTelemetry GenAI"

    def __init__(self) -> None:
        self._usage = Histogram(
            "gen_ai_client_token_usage",
            "Input and output tokens of requests whose engine counted them (gen_ai.client.token.usage).",
            _TOKENS,
            *(*_LABELS, "gen_ai_token_type"),
            most=2 * MOST_MODELS,
        )
        self._duration_s = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Until the client had the last byte (gen_ai.server.request.duration); error_type: status of a failure.",
            _DURATION_S,
            *(*_LABELS, "error_type"),
            most=2 * MOST_MODELS,
        )
        self._ttft_s = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the decision to the first chunk, of a bounded sample of streams (gen_ai.server.time_to_first_token).",
            _TTFT_S,
            *_LABELS,
            most=MOST_MODELS,
        )
        self._routes: dict[tuple[str, str, str], tuple[Spread, Spread, Spread]] = {}

    def observe(self, metered: Metered) -> None:
        """Counts a request that has ended."""
        key = metered.endpoint, metered.provider, metered.model
        route = self._routes.get(key)
        if route is None:
            key = key if len(self._routes) < MOST_MODELS else (OTHER, OTHER, OTHER)
            route = self._routes.get(key) or self._routes.setdefault(key, self._route(*key))
        served_s, input_tokens, output_tokens = route
        status = metered.end.status
        if 0 < status < 400:
            served_s.observe(metered.end.duration_s)
        else:
            error = str(status) if status else _CLIENT_LEFT
            self._duration_s.of(operation(key[0]), *key[1:], error).observe(metered.end.duration_s)
        if metered.prompt_tokens and not metered.estimated:
            input_tokens.observe(metered.prompt_tokens)
            output_tokens.observe(metered.completion_tokens)

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        """Counts a first token."""
        self._ttft_s.of(operation(endpoint), provider, model).observe(ttft_s)

    def families(self) -> Iterator[Family]:
        yield from (self._usage, self._duration_s, self._ttft_s)

    def _route(self, endpoint: str, provider: str, model: str) -> tuple[Spread, Spread, Spread]:
        names = operation(endpoint), provider, model
        return (
            self._duration_s.of(*names, ""),
            self._usage.of(*names, "input"),
            self._usage.of(*names, "output"),
        )


def operation(endpoint: str) -> str:
    """`gen_ai.operation.name` of a path."""
    return _OPERATIONS.get(endpoint, "chat")

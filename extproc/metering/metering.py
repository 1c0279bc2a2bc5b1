"""The end of a request -> what it took: the engine's usage at configured prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from extproc.fleet.events import Usage
from extproc.metering.meter import Meter
from extproc.metering.rates import BytesPerToken
from extproc.tenants.ledger import Ledger

_CREDIBLE_TOKENS = 1 << 40


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended, as Envoy saw it.

    Args:
        answer_bytes: of the body that went to the client.
        duration_s: until the last byte was sent to the client.
        upstream_s: until the replica sent its last byte; None if none answered.
    """

    status: int
    attempts: int
    usage: Usage
    answered: bool
    answer_bytes: int
    duration_s: float
    upstream_s: float | None


@dataclass(frozen=True, slots=True)
class Metered:
    """What a request took.

    Args:
        estimated: whether the engine told no usage.
        endpoint: path of the API that was asked.
    """

    model: str
    provider: str
    tenant: str
    stream: bool
    end: End
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_nusd: int
    estimated: bool
    endpoint: str = ""


class Metering:
    """Bills each request once its end is reported.

    Where the engine told no usage, because the client hung up or the replica died, the prompt counts as estimated and
    the answer by its bytes, at the rate that answers of this model had lately: who hangs up before the last event pays
    all the same. A request that no replica answered costs nothing.
    """

    def __init__(self, ledger: Ledger, observe: Callable[[Metered], None]) -> None:
        self._ledger = ledger
        self._observe = observe
        self._bytes_per_token = BytesPerToken()

    def take(self, meter: Meter, end: End) -> None:
        """A request has ended."""
        prompt, cached, completion, estimated = self._tokens(meter, end)
        cost_nusd = meter.prices.cost_nusd(prompt, cached, completion)
        if meter.bill is not None:
            self._ledger.settle(meter.bill.used(tokens=prompt + completion, cost_nusd=cost_nusd))
        self._observe(
            Metered(
                meter.model,
                meter.provider,
                meter.tenant,
                meter.stream,
                end,
                prompt,
                cached,
                completion,
                cost_nusd,
                estimated,
                meter.endpoint,
            )
        )

    def _tokens(self, meter: Meter, end: End) -> tuple[int, int, int, bool]:
        if not end.answered or end.status >= 400:
            return 0, 0, 0, False
        usage, key = end.usage, (meter.model, meter.stream)
        if usage.prompt_tokens is not None and usage.prompt_tokens <= _CREDIBLE_TOKENS:
            completion = min(usage.completion_tokens or 0, _CREDIBLE_TOKENS)
            self._bytes_per_token.learn(key, end.answer_bytes, completion)
            return usage.prompt_tokens, usage.cached_tokens or 0, completion, False
        return meter.prompt_tokens, 0, self._bytes_per_token.tokens(key, end.answer_bytes), True

"""The whole path of an inference request through the gateway, in order.

    authenticate   with the headers, before the body is let in   (Exchange, policies.py)
    understand     body -> request and model                     steps.py
    fingerprint    request -> prefix chain, token estimate       steps.py
    tokenise       request -> its tokens, in precise mode        tokenise.py
    admit          rate limits and budgets                       admit.py
    exact          an equal request's answer                     cached.py
    semantic       the answer to a request of like meaning       cached.py
    route          replicas in order                             steps.py

A step that the configuration leaves out is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from extproc.gateway.steps import Step

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange


@dataclass(slots=True)
class Timing:
    """How long a step took, of all requests together."""

    seconds: float = 0.0
    requests: int = 0


class Pipeline:
    """Steps by name, in order; names are those of the metric.

    Attributes:
        timings: of each step.
    """

    def __init__(self, steps: Sequence[tuple[str, Step]]) -> None:
        self.timings = {name: Timing() for name, _ in steps}
        self._steps = [(self.timings[name], step) for name, step in steps]

    def totals(self) -> dict[str, tuple[float, int]]:
        """Of each step: seconds in total, and requests."""
        return {name: (timing.seconds, timing.requests) for name, timing in self.timings.items()}

    async def run(self, exchange: Exchange) -> bytes | None:
        """Takes the steps until one of them answers.

        Returns:
            That answer; None if the request is to be sent on.

        Raises:
            GatewayError: a step refuses the request.
        """
        for timing, step in self._steps:
            began_s = perf_counter()
            try:
                answer = await step(exchange)
            finally:
                timing.seconds += perf_counter() - began_s
                timing.requests += 1
            if answer is not None:
                return answer
        return None

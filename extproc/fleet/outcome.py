"""What was expected of a request, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.fleet.events import Usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request that was served.

    Tokens are as the gateway estimates them, so that they compare; `usage` has the engine's own count.

    Args:
        replica: that served.
        first_choice: whether that is where it was sent first.
        prompt_tokens: as estimated.
        predicted_tokens: expected to be cached on the first choice.
        cached_tokens: that were, by the engine's count; None if it did not say, or said something impossible.
        elsewhere_tokens: that the warmest of the other replicas was believed to hold.
        predicted_ttft_s: None if the strategy did not predict.
        ttft_s: None if it was not timed.
        trimmed_tokens: believed to be cached there until this answer told otherwise.
        ticket: of the request.
    """

    at_s: float
    model: str
    replica: str
    first_choice: bool
    prompt_tokens: int
    predicted_tokens: int
    cached_tokens: int | None
    elsewhere_tokens: int
    predicted_ttft_s: float | None
    ttft_s: float | None
    trimmed_tokens: int
    usage: Usage
    ticket: str = ""

    @property
    def misrouted(self) -> bool | None:
        """Whether another replica would have served it with more cached tokens; None if that cannot be told."""
        if self.cached_tokens is None or not self.first_choice:
            return None
        return self.elsewhere_tokens > self.cached_tokens + tolerance_tokens(self.prompt_tokens)


def tolerance_tokens(prompt_tokens: int) -> int:
    """How far an estimated position in a prompt may be off: a block's worth, and some of the prompt."""
    return 128 + prompt_tokens // 16

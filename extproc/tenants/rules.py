"""What a key, or a tenant with all its keys, may do."""

from __future__ import annotations

from dataclasses import dataclass, field

from extproc.tenants.bucket import Limit

NUSD_PER_USD = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of one scope; what is None is not limited.

    Args:
        rpm: requests per minute.
        burst: requests that may come at once after a quiet time.
        tpm: tokens per minute, prompts and answers.
        budget_usd: US dollars per window.
        window_s: length of a window in seconds.
        token_burst: tokens that may come at once after a quiet time; None is a minute's worth.

    Raises:
        ValueError: a limit that nothing could ever pass or fail.
    """

    rpm: float | None = None
    burst: int = 60
    tpm: float | None = None
    budget_usd: float | None = None
    window_s: float = 86400.0
    token_burst: float | None = None

    requests: Limit | None = field(init=False, repr=False, compare=False)
    tokens: Limit | None = field(init=False, repr=False, compare=False)
    budget_nusd: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("rpm", "burst", "tpm", "token_burst", "window_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above zero, not {value}")
        if self.budget_usd is not None and not self.budget_usd >= 0:
            raise ValueError(f"budget_usd must not be below zero: {self.budget_usd}")
        set_once = object.__setattr__
        set_once(self, "requests", None if self.rpm is None else Limit(self.rpm / 60, float(self.burst)))
        set_once(self, "tokens", None if self.tpm is None else Limit(self.tpm / 60, self.token_burst or self.tpm))
        set_once(self, "budget_nusd", None if self.budget_usd is None else round(self.budget_usd * NUSD_PER_USD))

    @property
    def limits_rate(self) -> bool:
        """Whether requests or tokens are limited."""
        return self.requests is not None or self.tokens is not None

    @property
    def limits_spend(self) -> bool:
        """Whether there is a budget."""
        return self.budget_nusd is not None


UNLIMITED = Rules()

"""What travels with a request so that its end can be billed, by whichever instance hears of it.

The routing answer puts a `Meter` into Envoy's dynamic metadata; the access log brings it back.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import orjson

from extproc.config.topology import Target
from extproc.tenants.ledger import Bill

log = logging.getLogger(__name__)

_NUSD_PER_USD_AND_1K = 1_000_000


class Prices(NamedTuple):
    """US dollars for 1,000 tokens: of the prompt, of the prompt's cached part, generated."""

    input: float = 0.0
    cached: float = 0.0
    output: float = 0.0

    @classmethod
    def of(cls, target: Target) -> Prices:
        return cls(target.cost_per_1k_input, target.cost_per_1k_cached_input, target.cost_per_1k_output)

    def cost_nusd(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars."""
        cached = min(cached_tokens, prompt_tokens)
        cost = (prompt_tokens - cached) * self.input + cached * self.cached + completion_tokens * self.output
        return round(cost * _NUSD_PER_USD_AND_1K)


class Meter(NamedTuple):
    """All that has to be known of a request to bill it.

    Args:
        prompt_tokens: as estimated; used where the engine tells nothing.
        bill: what was reserved; None where nothing is limited.
        endpoint: path of the API that was asked.
    """

    model: str
    provider: str
    tenant: str
    stream: bool
    prompt_tokens: int
    prices: Prices
    bill: Bill | None
    endpoint: str = ""

    def pack(self) -> str:
        """As metadata: one scalar, which the access log returns as it was."""
        bill = self.bill.to_metadata() if self.bill else None
        return orjson.dumps([*self[:5], tuple(self.prices), bill, self.endpoint]).decode()

    @classmethod
    def unpack(cls, text: str) -> Meter:
        """The inverse of `pack`.

        Raises:
            ValueError: nothing that `pack` wrote.
        """
        model, provider, tenant, stream, prompt_tokens, prices, bill, *endpoint = orjson.loads(text)
        bill = None if bill is None else Bill.from_metadata(bill)
        return cls(model, provider, tenant, stream, prompt_tokens, Prices(*prices), bill, *endpoint[:1])


def meter_of(text: str) -> Meter | None:
    """The meter that an access-log entry brought back; None if it brought none that can be read."""
    if not text:
        return None
    try:
        return Meter.unpack(text)
    except (ValueError, TypeError) as error:
        log.warning("an access log entry with a meter that cannot be read: %s", error)
        return None

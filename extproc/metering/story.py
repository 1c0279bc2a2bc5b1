"""What travels with a request so that its end can be told whole, by whichever instance hears of it.

The processor's answer puts a `Story` into Envoy's dynamic metadata; the access log brings it back. Nothing of a prompt,
a reply or a credential is in it, and no text that a client chose: models and endpoints are those that are configured.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

KEY = "story"
"""In the metadata namespace `kvgate`."""


class Story(NamedTuple):
    """What only the processor knew. What does not apply is empty or None.

    Args:
        key: public id of the API key.
        cache: miss, bypass, exact or semantic.
        code: of the error that the gateway answered with.
        replica: the first choice.
        prompt_tokens: as estimated.
        matched_tokens: of those, believed to be in the first choice's own cache.
        restored_tokens: of those, expected to come from the tiers behind it.
        wait_s: predicted, until the first choice would begin with it.
        gateway_s: until the processor had decided.
    """

    endpoint: str = ""
    tenant: str = ""
    key: str = ""
    model: str = ""
    upstream_model: str = ""
    provider: str = ""
    stream: bool | None = None
    cache: str = ""
    code: str = ""
    replica: str = ""
    reason: str = ""
    prompt_tokens: int | None = None
    matched_tokens: int | None = None
    restored_tokens: int | None = None
    predicted_ttft_s: float | None = None
    wait_s: float | None = None
    gateway_s: float | None = None

    def pack(self) -> str:
        """As metadata: one scalar, which the access log returns as it was."""
        return orjson.dumps(tuple(self)).decode()

    @classmethod
    def unpack(cls, text: str) -> Story:
        """The inverse of `pack`; the empty story for anything else, such as what another version wrote."""
        try:
            return cls(*orjson.loads(text))
        except (ValueError, TypeError):
            return UNTOLD


UNTOLD = Story()
"""Of a request that no processor has seen."""

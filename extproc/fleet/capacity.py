"""How many prompt tokens a replica's cache really holds.

The engine says how large its KV cache is; running answers, other users of it and errors of our estimates leave less of
that to the prompts that we know. Where an engine says nothing, all is learned from what it had evicted.
"""

from __future__ import annotations

_STEP = 0.2
"""How far one eviction that we did not foresee moves the belief towards what it showed."""
_GROWTH = 1.02
_LEAST_SHARE = 0.1
"""Of what the engine reports; below that, something else is wrong than the size of its cache."""
_LEAST_TOKENS = 1024
_CLEARED_SHARE = 0.25
"""An engine that has lost more than the rest has lost its cache; that says nothing about how much it can hold."""


class Capacity:
    """The belief about one replica."""

    __slots__ = ("_believed", "_reported")

    def __init__(self) -> None:
        self._reported: int | None = None
        self._believed: float | None = None

    @property
    def tokens(self) -> int | None:
        """Tokens of prompts that fit; None while nothing is known."""
        return None if self._believed is None else max(1, int(self._believed))

    def report(self, kv_tokens: int | None) -> None:
        """What the engine says; a new figure replaces what was learned under the old one."""
        if kv_tokens != self._reported:
            self._reported = kv_tokens
            self._believed = None if kv_tokens is None else float(kv_tokens)

    def too_high(self, kept_tokens: int) -> None:
        """The engine had evicted what we believed to be there; so many tokens may still be."""
        if self._believed is None:
            self._believed = float(max(kept_tokens, _LEAST_TOKENS))
        elif _CLEARED_SHARE * self._believed < kept_tokens < self._believed:
            self._believed += _STEP * (kept_tokens - self._believed)
        self._believed = max(self._believed, self._floor())

    def _floor(self) -> float:
        if self._reported is None:
            return float(_LEAST_TOKENS)
        return min(float(self._reported), max(_LEAST_TOKENS, _LEAST_SHARE * self._reported))

    def too_low(self) -> None:
        """The engine still had what we believed to be evicted."""
        if self._believed is not None:
            grown = self._believed * _GROWTH
            self._believed = grown if self._reported is None else min(grown, float(self._reported))

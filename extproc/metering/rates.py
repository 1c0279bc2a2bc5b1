"""How many tokens an answer has whose engine did not say."""

from __future__ import annotations

from collections import OrderedDict

_PRIOR = {True: 200.0, False: 4.0}  # an event a token; plain text
_ALPHA = 0.05
_MOST = 512


class BytesPerToken:
    """How many bytes of an answer a token takes, by model and kind of answer, learned from those that were counted."""

    def __init__(self) -> None:
        self._learned: OrderedDict[tuple[str, bool], float] = OrderedDict()

    def learn(self, key: tuple[str, bool], answer_bytes: int, tokens: int) -> None:
        """An answer of so many bytes had so many tokens."""
        if tokens <= 0 or answer_bytes <= 0:
            return
        before = self._learned.get(key, _PRIOR[key[1]])
        self._learned[key] = before + _ALPHA * (answer_bytes / tokens - before)
        if len(self._learned) > _MOST:
            self._learned.popitem(last=False)

    def tokens(self, key: tuple[str, bool], answer_bytes: int) -> int:
        """Tokens in an answer of that size."""
        return round(answer_bytes / max(1.0, self._learned.get(key, _PRIOR[key[1]])))

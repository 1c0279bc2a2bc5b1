"""A reply that is read whole on its way to the client, because it is to be kept."""

from __future__ import annotations

from collections.abc import Callable

from extproc.caching.answer import Answer
from extproc.caching.lead import Lead


class Capture:
    """Hands a reply to those who keep it. One of `finish`, `refused` and `abandon` ends it.

    Args:
        lead: of the exact cache.
    """

    def __init__(self, lead: Lead) -> None:
        self._lead = lead
        self._then: Callable[[Answer], None] | None = None

    @property
    def given_up(self) -> bool:
        """Nothing will come of it."""
        return not self._lead.open

    def then(self, keep: Callable[[Answer], None]) -> None:
        """Gives the answer to somebody else, too, if it is one to keep."""
        self._then = keep

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        self._lead.feed(chunk)

    def finish(self) -> None:
        """The body is complete."""
        answer = self._lead.finish()
        if answer is not None and self._then is not None:
            self._then(answer)

    def refused(self) -> None:
        """It is not a reply to keep."""
        self._lead.refused()

    def abandon(self) -> None:
        """It will not be complete."""
        self._lead.abandon()

"""Tickets that were settled lately, so that one which is told of twice counts once."""

from __future__ import annotations


class Recent:
    """A bounded set that forgets the oldest first.

    Args:
        most: entries.
    """

    def __init__(self, most: int = 8192) -> None:
        self._most = most
        self._tickets: dict[str, None] = {}
        self._older: dict[str, None] = {}

    def add(self, ticket: str) -> bool:
        """Whether it is new."""
        if ticket in self._tickets or ticket in self._older:
            return False
        self._tickets[ticket] = None
        if 2 * len(self._tickets) >= self._most:
            self._older, self._tickets = self._tickets, {}
        return True

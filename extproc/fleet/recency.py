"""Things in the order of their use, as a doubly linked list whose links are in the things themselves.

Unlike an ordered dictionary it can insert in the middle: when a run of blocks is split, both halves keep its place.
"""

from __future__ import annotations

from collections.abc import Iterator


class Entry:
    """Something that was used at some time.

    Attributes:
        stamp: number of the call that used it last, counted for each replica.
        used_s: time of its last use; never goes back, whatever the clocks of reporters say.
    """

    __slots__ = ("newer", "older", "stamp", "used_s")

    older: Entry
    newer: Entry
    stamp: int
    used_s: float

    @property
    def depth(self) -> int:
        """Blocks in front of it in its prompt. What one call used is evicted from the deepest up."""
        raise NotImplementedError

    def file_after(self, older: Entry) -> None:
        """Takes the place on the newer side of an entry that is in a list."""
        newer = older.newer
        self.older, self.newer = older, newer
        older.newer = newer.older = self

    def unlink(self) -> None:
        """Leaves its list; it must be dropped or filed again."""
        older, newer = self.older, self.newer
        older.newer, newer.older = newer, older

    def goes_before(self, other: Entry) -> bool:
        """Whether it is nearer to eviction: used earlier, or deeper down in the prompt of the same call."""
        return self.stamp < other.stamp or (self.stamp == other.stamp and self.depth > other.depth)


class Recency:
    """A list of entries, least recently used first."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = Entry()  # stands before the oldest and behind the newest
        self._ends.older = self._ends.newer = self._ends

    def __iter__(self) -> Iterator[Entry]:
        """Oldest first. An entry may leave the list as soon as it has been seen."""
        ends = self._ends
        entry = ends.newer
        while entry is not ends:
            newer = entry.newer
            yield entry
            entry = newer

    def oldest(self) -> Entry | None:
        """None if the list is empty."""
        entry = self._ends.newer
        return None if entry is self._ends else entry

    def file(self, entry: Entry) -> None:
        """Puts an entry that is in no list at the newest end."""
        entry.file_after(self._ends.older)

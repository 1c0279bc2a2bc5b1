"""What a replica remembers of the requests it got, so that tests can prove what arrived."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDictProxy


@dataclass(slots=True)
class Entry:
    """One inference request. `request_id` is the client's X-Request-Id, or the one made up for it."""

    request_id: str
    id: str
    path: str
    headers: CIMultiDictProxy[str]
    body_sha256: str = ""
    body_bytes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    media: list[str] = field(default_factory=list)
    outcome: str = "open"

    def summary(self) -> dict[str, Any]:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return {
            "request_id": self.request_id,
            "id": self.id,
            "path": self.path,
            "headers": headers,
            "body_sha256": self.body_sha256,
            "body_bytes": self.body_bytes,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "media": self.media,
            "outcome": self.outcome,
        }


class Journal:
    """Counts of everything, summaries of the latest."""

    def __init__(self, recent: int) -> None:
        self._recent: deque[Entry] = deque(maxlen=recent)
        self.by_endpoint: Counter[str] = Counter()
        self.by_outcome: Counter[str] = Counter()

    def open(self, entry: Entry, endpoint: str) -> None:
        self.by_endpoint[endpoint] += 1
        self._recent.append(entry)

    def close(self, entry: Entry, outcome: str) -> None:
        """Note how a request ended: served, refused, aborted or fault."""
        entry.outcome = outcome
        self.by_outcome[outcome] += 1

    def summaries(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first."""
        return [entry.summary() for entry in self._recent]

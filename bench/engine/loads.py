"""What clients do, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What clients do.

    Args:
        concurrency: requests in flight at a time; the next is sent when one is answered.
        warmed: every replica is asked about every image before, unmeasured.
    """

    images: int
    requests: int
    concurrency: int
    image_side: int = 1024
    warmed: bool = False


@dataclass(frozen=True, slots=True)
class ChatLoad:
    """What `lmcache bench engine --workload multi-round-chat` does. Lengths are in its words, about a token each.

    Args:
        users: talk at the same time. An odd number: with as many turns for all, round robin over two replicas would
            else bring every user back to the same one by chance.
        requests_per_s: over all users.
    """

    users: int
    system_words: int
    history_words: int
    question_words: int
    output_tokens: int
    requests_per_s: float
    duration_s: float

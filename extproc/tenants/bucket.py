"""Token buckets (RFC 2697's meter without colours), as functions of values.

    level(t) = min(capacity, level(t0) + rate * (t - t0))

What is admitted lowers the level, and what it took is settled once it is known: the level may go below zero, and
nothing is admitted until it has come up again. What is larger than the bucket can ever hold is admitted when the bucket
is full, so that it is late and not refused for ever; it takes its whole size, which those after it wait for.
"""

from __future__ import annotations

from typing import NamedTuple

SLACK = 1e-9
"""Of the capacity: who waits exactly as long as told is not turned away by a rounding error."""


class Limit(NamedTuple):
    """How fast a bucket fills, per second, and how much it holds."""

    rate_per_s: float
    capacity: float


class Bucket(NamedTuple):
    """How much was in it at some time. The limit is the one that it was last filled by."""

    level: float
    at_s: float
    limit: Limit


def filled(bucket: Bucket | None, limit: Limit, now_s: float) -> Bucket:
    """The bucket as it is now; one that is not known is full.

    A limit that has changed since takes effect at once: what is there stays, down to the new capacity.
    """
    if bucket is None:
        return Bucket(limit.capacity, now_s, limit)
    level = bucket.level + limit.rate_per_s * max(0.0, now_s - bucket.at_s)
    return Bucket(min(limit.capacity, level), now_s, limit)


def wait_s(bucket: Bucket, amount: float) -> float:
    """Seconds until so much would be admitted, if nobody else took anything; 0: now."""
    missing = min(amount, bucket.limit.capacity) - bucket.level
    return missing / bucket.limit.rate_per_s if missing > SLACK * bucket.limit.capacity else 0.0


def taken(bucket: Bucket, amount: float) -> Bucket:
    """The bucket after so much was admitted."""
    return Bucket(bucket.level - amount, bucket.at_s, bucket.limit)


def settled(bucket: Bucket, given_back: float, now_s: float) -> Bucket:
    """The bucket after a difference between estimate and truth was given back or, below zero, taken."""
    now = filled(bucket, bucket.limit, now_s)
    return now._replace(level=min(bucket.limit.capacity, now.level + given_back))


def remaining(bucket: Bucket) -> int:
    """How much would be admitted now."""
    return max(0, int(bucket.level + SLACK * bucket.limit.capacity))


def full_in_s(bucket: Bucket) -> float:
    """Seconds until it is full."""
    return max(0.0, (bucket.limit.capacity - bucket.level) / bucket.limit.rate_per_s)

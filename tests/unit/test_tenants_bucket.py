"""Token buckets and windows, as arithmetic."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extproc.tenants.bucket import Bucket, Limit, filled, full_in_s, remaining, settled, taken, wait_s
from extproc.tenants.window import Spend, current, window_end_s

limits = st.builds(Limit, st.floats(1e-3, 1e6), st.floats(1, 1e9))
amounts = st.floats(0, 1e9)
times = st.floats(0, 1e8)
buckets = st.builds(
    lambda limit, part, at_s: Bucket(limit.capacity * part, at_s, limit), limits, st.floats(-3, 1), times
)
lengths = st.floats(0.5, 1e7)


@given(buckets, times)
def test_a_bucket_never_holds_more_than_its_capacity(bucket: Bucket, now_s: float) -> None:
    assert filled(bucket, bucket.limit, now_s).level <= bucket.limit.capacity


@given(buckets, amounts, st.floats(0, 1))
def test_who_waits_as_long_as_told_is_admitted_and_nobody_before(bucket: Bucket, amount: float, part: float) -> None:
    told_s = wait_s(bucket, amount)
    assume(told_s > 1e-3 and told_s < 1e9)
    assert wait_s(filled(bucket, bucket.limit, bucket.at_s + told_s * (1 + 1e-6) + 1e-6), amount) == 0
    early = filled(bucket, bucket.limit, bucket.at_s + told_s * part * 0.99)
    assert wait_s(early, amount) > 0 or told_s * 0.01 * bucket.limit.rate_per_s <= 2e-9 * bucket.limit.capacity + 1e-6


@given(limits, amounts)
def test_a_request_larger_than_the_bucket_is_admitted_when_it_is_full_and_owed_for_afterwards(
    limit: Limit, extra: float
) -> None:
    full, amount = filled(None, limit, 0), limit.capacity + extra
    assert wait_s(full, amount) == 0
    assert taken(full, amount).level <= 0
    assert wait_s(taken(full, limit.capacity / 2), amount) == pytest.approx(limit.capacity / 2 / limit.rate_per_s)


@given(buckets, amounts, amounts)
def test_settling_comes_to_the_same_as_having_known(bucket: Bucket, estimate: float, truth: float) -> None:
    after = settled(taken(bucket, estimate), estimate - truth, bucket.at_s)
    assert after.level == pytest.approx(min(bucket.limit.capacity, bucket.level - truth), abs=1e-3)


@given(buckets)
def test_it_is_full_when_it_said_it_would_be(bucket: Bucket) -> None:
    then = filled(bucket, bucket.limit, bucket.at_s + full_in_s(bucket) * (1 + 1e-6) + 1e-6)
    assert remaining(then) == remaining(then._replace(level=bucket.limit.capacity))


@given(buckets, times)
def test_a_clock_that_is_set_back_takes_nothing_away(bucket: Bucket, back_s: float) -> None:
    assert filled(bucket, bucket.limit, bucket.at_s - back_s).level == bucket.level


@given(buckets, limits)
def test_a_new_limit_keeps_what_is_there(bucket: Bucket, limit: Limit) -> None:
    assert filled(bucket, limit, bucket.at_s).level == min(bucket.level, limit.capacity)


@given(st.floats(0, 1e10), lengths)
def test_a_window_lies_around_now_and_is_as_long_as_told(now_s: float, window_s: float) -> None:
    ends_s = window_end_s(now_s, window_s)
    assert now_s < ends_s <= now_s + window_s * (1 + 1e-9) + 1e-5


def test_windows_begin_at_multiples_of_their_length() -> None:
    assert window_end_s(86_399.9, 86_400) == 86_400
    assert window_end_s(86_400, 86_400) == 172_800


@given(st.integers(0, 10**12), st.floats(0, 1e9), lengths, lengths)
def test_a_window_whose_length_changes_keeps_its_spend(nusd: int, now_s: float, old_s: float, new_s: float) -> None:
    changed = current(Spend(nusd, window_end_s(now_s, old_s)), now_s, new_s)
    assert changed == Spend(nusd, window_end_s(now_s, new_s))


def test_the_next_window_begins_with_nothing_spent() -> None:
    assert current(Spend(5, 60), 60, 60) == Spend(0, 120)
    assert current(Spend(5, 60), math.nextafter(60, 0), 60) == Spend(5, 60)

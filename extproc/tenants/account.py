"""What one scope, a key or a tenant, has left, and the decision on a request; as functions of values."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from extproc.tenants.bucket import Bucket, filled, full_in_s, remaining, settled, taken, wait_s
from extproc.tenants.ledger import Refused, Scope, Verdict
from extproc.tenants.rules import Rules
from extproc.tenants.window import Spend, current

_LEVEL = attrgetter("level")


class Moment(NamedTuple):
    """One instant on two clocks: the monotonic one, which buckets fill by, and Unix time, which windows go by."""

    now_s: float
    unix_s: float


class Account(NamedTuple):
    """What is known of a scope. A bucket that is None is full."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    spend: Spend | None = None
    reserved_nusd: int = 0


def brought_forward(account: Account, rules: Rules, moment: Moment) -> Account:
    """The account as it is now under these rules. Of what is not limited any more only the spend is kept."""
    return Account(
        filled(account.requests, rules.requests, moment.now_s) if rules.requests else None,
        filled(account.tokens, rules.tokens, moment.now_s) if rules.tokens else None,
        current(account.spend, moment.unix_s, rules.window_s),
        account.reserved_nusd,
    )


def refusal(account: Account, scope: Scope, rules: Rules, tokens: int, moment: Moment) -> Verdict | None:
    """The limit of a scope that holds a request of so many tokens back longest; None if none does.

    The account has been brought forward.
    """
    longest: Verdict | None = None
    if account.requests is not None:
        longest = _of_bucket("requests", scope, account.requests, 1, longest)
    if account.tokens is not None:
        longest = _of_bucket("tokens", scope, account.tokens, tokens, longest)
    if rules.budget_nusd is not None and account.spend is not None:
        left = rules.budget_nusd - account.spend.nusd - account.reserved_nusd
        ends_in_s = account.spend.ends_s - moment.unix_s
        if left <= 0 and (longest is None or ends_in_s > longest.retry_after_s):
            return Verdict("budget", scope, ends_in_s, rules.budget_nusd, 0, ends_in_s)
    return longest


def admission(accounts: Sequence[Account]) -> Verdict:
    """The verdict on a request that was admitted; the accounts have been charged."""
    buckets = [account.requests for account in accounts if account.requests is not None]
    buckets = buckets or [account.tokens for account in accounts if account.tokens is not None]
    if not buckets:
        return Verdict()
    least = min(buckets, key=_LEVEL) if len(buckets) > 1 else buckets[0]
    return Verdict(None, None, 0.0, int(least.limit.capacity), remaining(least), full_in_s(least))


def charged(account: Account, tokens: int, reserved_nusd: int) -> Account:
    """The account after a request was admitted."""
    requests = account.requests and taken(account.requests, 1)
    used = account.tokens and taken(account.tokens, tokens)
    return Account(requests, used, account.spend, account.reserved_nusd + reserved_nusd)


def billed(account: Account, tokens_back: int, cost_nusd: int, window_s: float, moment: Moment) -> Account:
    """The account after a request has ended; `tokens_back` is what it reserved and did not use, or below zero."""
    spend = account.spend
    if spend is None or moment.unix_s >= spend.ends_s:
        spend = current(spend, moment.unix_s, window_s)
    used = account.tokens and settled(account.tokens, tokens_back, moment.now_s)
    return Account(account.requests, used, Spend(spend.nusd + cost_nusd, spend.ends_s), account.reserved_nusd)


def nothing_to_remember(account: Account, moment: Moment) -> bool:
    """Whether a new account would be the same."""
    buckets = (filled(b, b.limit, moment.now_s) for b in (account.requests, account.tokens) if b is not None)
    return (
        account.reserved_nusd == 0
        and (account.spend is None or account.spend.nusd == 0 or moment.unix_s >= account.spend.ends_s)
        and all(full_in_s(bucket) == 0 for bucket in buckets)
    )


def _of_bucket(what: Refused, scope: Scope, bucket: Bucket, amount: float, longest: Verdict | None) -> Verdict | None:
    waits_s = wait_s(bucket, amount)
    if waits_s <= (longest.retry_after_s if longest else 0.0):
        return longest
    return Verdict(what, scope, waits_s, int(bucket.limit.capacity), remaining(bucket), full_in_s(bucket))

"""Spend in fixed windows, as functions of values. Windows begin at multiples of their length, counted from 1970 in UTC.

A cost belongs to the window in which it becomes known, which is when the request ends: then no request, however it is
timed, escapes the window that it is paid in.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Spend(NamedTuple):
    """What was spent in the window that ends at that Unix time."""

    nusd: int
    ends_s: float


def window_end_s(now_s: float, window_s: float) -> float:
    """When the window that `now_s` lies in is over."""
    end_s = (math.floor(now_s / window_s) + 1) * window_s
    return end_s if end_s > now_s else end_s + window_s  # floats: what is nearly a multiple may round up to it


def current(spend: Spend | None, now_s: float, window_s: float) -> Spend:
    """The spend of the window that is now.

    A window whose length was changed while it ran keeps what was spent: it ends when the new length says.
    """
    ends_s = window_end_s(now_s, window_s)
    if spend is None or now_s >= spend.ends_s:
        return Spend(0, ends_s)
    return spend if spend.ends_s == ends_s else Spend(spend.nusd, ends_s)

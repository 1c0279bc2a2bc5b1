"""Keeps large buffers from going back to the kernel between requests."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)


def keep_large_buffers(*, keep_bytes: int = 256 << 20, mmap_above_bytes: int = 32 << 20) -> None:
    """Tells glibc's malloc to reuse what it has freed instead of mapping each large buffer anew.

    An image body passes through several buffers of a megabyte each. Mapping them costs a page fault for every 4 KiB:
    three quarters of the time that parsing such a body takes. The price is up to `keep_bytes` of idle memory.

    Where the C library is another one, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, mmap_above_bytes)
        mallopt(_M_TRIM_THRESHOLD, keep_bytes)
        mallopt(_M_TOP_PAD, 16 << 20)

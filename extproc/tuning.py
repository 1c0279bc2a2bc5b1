"""What the processor asks of Python and the C libraries under it; measured with `python -m bench.overhead`."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import MutableMapping

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
_YOUNGER_COLLECTIONS = 1000
"""Before a full one; by default 10. The index alone causes a younger one every thousand requests or two."""


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


def poll_without_event_engine(env: MutableMapping[str, str]) -> None:
    """Has gRPC's C core poll sockets in the thread that waits for them, as it did up to version 1.74.

    Its newer EventEngine hands every read through a pool of threads to the one that Python listens on. That costs a
    request a third more CPU and, at one connection, 0.3 ms. Must be called before grpc is imported; a value that the
    operator has set stays.
    """
    env.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")


def collect_garbage_seldom() -> None:
    """Has Python look through all its objects a hundred times less often than it would. Call it once all is imported.

    The cache index is a million objects that live long, and a full collection stops the processor while it looks at
    each: half a second at 5 million held blocks. It would find nothing, since the index frees by reference count.
    Young objects are collected as ever. What is imported by now is never looked at again. The price is that a cycle of
    objects that has grown old stays for longer.
    """
    young, middle, _ = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, _YOUNGER_COLLECTIONS)

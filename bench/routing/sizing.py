"""How large a workload is, and how fast an engine must be for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain

from bench.routing.request import Workload


def working_set_tokens(workload: Workload) -> int:
    """Tokens of all distinct blocks, of prompts and answers: a cache of this size never evicts."""
    distinct: set[int] = set()
    for request in workload.requests:
        distinct.update(request.block_hashes)
        distinct.update(request.output_block_hashes)
    return len(distinct) * workload.block_size


def largest_request_tokens(workload: Workload) -> int:
    return max(request.total_tokens for request in workload.requests)


def pooled_uncached_tokens(workload: Workload, capacity_tokens: int) -> list[int]:
    """Prompt tokens of each request that miss one LRU cache of this size, served one by one in order of arrival."""
    block_size = workload.block_size
    capacity = capacity_tokens // block_size
    cache: OrderedDict[int, None] = OrderedDict()
    uncached_tokens: list[int] = []
    for request in workload.requests:
        hits = 0
        for block in request.block_hashes[: (request.prompt_tokens - 1) // block_size]:
            if block not in cache:
                break
            hits += 1
        uncached_tokens.append(request.prompt_tokens - hits * block_size)
        for block in chain(reversed(request.output_block_hashes), reversed(request.block_hashes)):
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return uncached_tokens


def open_prefill_tokens_per_s(
    workload: Workload, uncached_tokens: Sequence[int], utilisation: float, speed: float
) -> float:
    """The rate of one ordinary replica at which this work keeps prefill busy for this share of the busiest time.

    The busiest time is that fifth of the run in which most tokens are to be computed: conversations start cold, so the
    mean over a run says little about its beginning. Decode is left out: it comes on top.

    Args:
        uncached_tokens: what is to be computed of each request.
        speed: the fleet's size in ordinary replicas.
    """
    requests = workload.requests
    window_s = (requests[-1].arrival_s - requests[0].arrival_s) / 5
    tokens = busiest = first = 0
    for last, request in enumerate(requests):
        tokens += uncached_tokens[last]
        while requests[first].arrival_s < request.arrival_s - window_s:
            tokens -= uncached_tokens[first]
            first += 1
        busiest = max(busiest, tokens)
    return busiest / (window_s * utilisation * speed)


def closed_prefill_tokens_per_s(
    workload: Workload, utilisation: float, speed: float, decode_tokens_per_s: float
) -> float:
    """The rate of one ordinary replica at which a closed loop keeps a fleet without caches busy for this share of time.

    C requests under way, each d seconds to decode and s = prompt tokens / rate to prefill, make C / (d + s) requests a
    second and a utilisation of u = C s / (n (d + s)) over n replicas, so s = u n d / (C - u n). Queueing and the slower
    decode of a batch are left out.

    Args:
        speed: the fleet's size in ordinary replicas, n.
    """
    assert workload.concurrency is not None
    requests = workload.requests
    decode_s = sum(request.output_tokens for request in requests) / len(requests) / decode_tokens_per_s
    share = utilisation * speed
    prefill_s = share * decode_s / (workload.concurrency - share)
    return sum(request.prompt_tokens for request in requests) / len(requests) / prefill_s

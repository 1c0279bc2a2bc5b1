"""Policies by name. `+P` behind a name gives it the exact view of every engine's cache.

`kvgate-T` is `kvgate` that has not been told of the tiers behind the replicas, `kvgate-R` one that has not been told of
the remote tier alone: what knowing of them is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

from bench.common.errors import BenchFailed
from bench.routing.baselines.blind import LeastBusy, Random, RoundRobin
from bench.routing.baselines.chwbl import Chwbl, session_or_first_block
from bench.routing.baselines.dynamo import Dynamo
from bench.routing.baselines.first_generation import FirstGeneration
from bench.routing.baselines.lmetric import LMetric
from bench.routing.baselines.sglang import Sglang
from bench.routing.baselines.sticky import Sticky
from bench.routing.baselines.views import Exact, Inferred, View
from bench.routing.oracles import LINES, LeastWork
from bench.routing.policy import Policy, Setting

_BLIND: dict[str, Callable[[Setting], Policy]] = {
    "random": lambda setting: Random(setting.seed),
    "round_robin": lambda _: RoundRobin(),
    "least_busy": lambda _: LeastBusy(),
    "chwbl": lambda _: Chwbl(),
    "session": lambda _: Chwbl(session_or_first_block),
    "first_generation": lambda _: FirstGeneration(),
}
_CACHE_AWARE: dict[str, Callable[[Setting, View], Policy]] = {
    "sglang": lambda _, view: Sglang(view),
    "lmetric": lambda _, view: LMetric(view),
    "lmetric_queued": lambda _, view: LMetric(view, queued=True),
    "dynamo": lambda _, view: Dynamo(view),
    "sticky": lambda setting, view: Sticky(view, setting.prefill_tokens_per_s),
}

REAL = (*_BLIND, *_CACHE_AWARE, "kvgate")
EXACT = (*(f"{name}+P" for name in _CACHE_AWARE), "kvgate+P")
UNTOLD: Mapping[str, Mapping[str, int]] = {
    "kvgate-T": {"host_tokens": 0, "remote_tokens": 0},
    "kvgate-R": {"remote_tokens": 0},
}
"""What of a setting each does not know."""
GRID = (*REAL, *EXACT, *LINES)


def known() -> list[str]:
    """Every name; those with `kvgate:` are the gateway's other strategies."""
    from extproc.config.settings import Strategy

    return [*GRID, *UNTOLD, *(f"kvgate:{name}" for name in get_args(Strategy))]


def resolve(name: str) -> str:
    """A policy's full name: a strategy of the gateway may go by its own where no baseline has it."""
    base, suffix = name.removesuffix("+P"), name[len(name.removesuffix("+P")) :]
    if name in known() or f"kvgate:{base}" not in known():
        return name
    return f"kvgate{suffix}" if base == "prefix_kv_aware" else f"kvgate:{base}{suffix}"


def is_ours(name: str) -> bool:
    """Whether the gateway's own code is behind the name."""
    return name.startswith("kvgate")


def build(name: str, setting: Setting) -> Policy:
    """A fresh policy.

    Raises:
        BenchFailed: there is none of that name.
    """
    if name in LINES:
        return LeastWork(setting)
    if is_ours(name):
        return _ours(name, setting)
    base, exact = name.removesuffix("+P"), name.endswith("+P")
    if name in _BLIND:
        return _BLIND[name](setting)
    if base in _CACHE_AWARE:
        return _CACHE_AWARE[base](setting, Exact(setting.engines) if exact else Inferred())
    raise BenchFailed(f"no policy is called {name!r}; there are: {', '.join(known())}")


def _ours(name: str, setting: Setting) -> Policy:
    # Imported here, so that the baselines run without the gateway's code.
    from bench.routing.ours import KvGate
    from extproc.config.settings import Strategy

    if name in UNTOLD:
        return KvGate(replace(setting, **UNTOLD[name]))
    base, exact = name.removesuffix("+P"), name.endswith("+P")
    strategy = base.partition(":")[2] or "prefix_kv_aware"
    for each in get_args(Strategy):
        if strategy == each:
            return KvGate(setting, each, exact=exact)
    raise BenchFailed(f"the gateway has no strategy {strategy!r}; it has: {', '.join(get_args(Strategy))}")

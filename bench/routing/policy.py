"""What a routing policy is told, and what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.routing.request import BenchRequest
from extproc.sim import Engine, EngineStats


class Policy(Protocol):
    """Chooses a replica for each request. Replicas are numbers; times are seconds of the virtual clock."""

    def route(self, request: BenchRequest, now_s: float) -> int:
        """The replica that is to serve the request, among those that are up."""
        ...

    def first_token(self, request: BenchRequest, replica: int, now_s: float) -> None:
        """The request's prefill is over. Told of every request: who may see only a sample looks away itself."""
        ...

    def finished(self, request: BenchRequest, replica: int, now_s: float, cached_tokens: int) -> None:
        """The answer is complete; `cached_tokens` is what its usage says."""
        ...

    def report(self, replica: int, stats: EngineStats, now_s: float) -> None:
        """The engine's metrics, once a second."""
        ...

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        """A replica has joined, with an empty cache of this size."""
        ...

    def down(self, replica: int, now_s: float) -> None:
        """A replica gets nothing new from now on; what it has, it finishes."""
        ...

    def notes(self) -> dict[str, float]:
        """What the policy has to say of itself after the run, by name; its prediction error for example."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy is built with.

    Args:
        engines: by replica number, those that are not up yet included. Only an exact view or an oracle may look.
        prefill_tokens_per_s: peak rate of an ordinary replica, for rules that are tuned with it.
        speeds: rate of each replica as a multiple of that; only an oracle may look.
        seed: of a policy's own dice.
        host_tokens: that fit in the host tier behind each replica, as an operator would configure it; 0 for none.
        remote_tokens: that fit in the store behind all of them, likewise.
    """

    engines: Sequence[Engine]
    prefill_tokens_per_s: float
    speeds: Sequence[float]
    seed: int
    host_tokens: int = 0
    remote_tokens: int = 0

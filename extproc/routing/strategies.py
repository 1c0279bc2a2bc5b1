"""Which strategy a configuration asks for."""

from __future__ import annotations

from random import Random, SystemRandom

from extproc.config.settings import Routing
from extproc.routing.cost import Cost
from extproc.routing.latency import Latency
from extproc.routing.least_busy import LeastBusy
from extproc.routing.prefix_kv_aware import PrefixKvAware
from extproc.routing.random_choice import RandomChoice
from extproc.routing.ranking import Strategy
from extproc.routing.round_robin import RoundRobin
from extproc.routing.session import Session
from extproc.routing.weighted import Weighted


def build_strategy(settings: Routing, seed: int | None = None) -> Strategy:
    """The configured strategy, with its settings.

    Args:
        seed: for strategies that leave something to chance; None takes one from the operating system.
    """
    match settings.strategy:
        case "round_robin":
            return RoundRobin()
        case "random":
            return RandomChoice(Random(SystemRandom().getrandbits(64) if seed is None else seed))
        case "weighted":
            return Weighted()
        case "least_busy":
            return LeastBusy()
        case "latency":
            return Latency()
        case "cost":
            return Cost()
        case "session":
            return Session(settings.session_load_bound)
        case "prefix_kv_aware":
            return PrefixKvAware()

"""Which strategy a configuration asks for."""

from __future__ import annotations

from extproc.config.settings import Routing
from extproc.routing.least_busy import LeastBusy
from extproc.routing.prefix_kv_aware import PrefixKvAware
from extproc.routing.ranking import Strategy
from extproc.routing.round_robin import RoundRobin
from extproc.routing.weighted import Weighted


def build_strategy(settings: Routing) -> Strategy:
    """The configured strategy, with its settings."""
    match settings.strategy:
        case "round_robin":
            return RoundRobin()
        case "least_busy":
            return LeastBusy()
        case "weighted":
            return Weighted()
        case "prefix_kv_aware":
            options = settings.prefix_kv_aware
            return PrefixKvAware(
                affinity_threshold=options.affinity_threshold,
                weight_prefix=options.weight_prefix,
                weight_load=options.weight_load,
                max_inflight_skew=options.max_inflight_skew,
            )

"""Fleets with tiers behind their replicas, and requests that they serve."""

from __future__ import annotations

from extproc.config.topology import HostTier
from extproc.fleet.events import (
    CapacityReported,
    FirstToken,
    HostTierReported,
    RemoteTierReported,
    Routed,
    Usage,
)
from extproc.fleet.state import Fleet
from extproc.prefix import Chain
from extproc.routing import Candidate, Demand, Option, Ranking, assess
from extproc.routing.prefix_kv_aware import PrefixKvAware
from tests.unit.say import chain, fleet_of, served

TOKENS = 8000


def prompt(topic: int) -> Chain:
    """Eight blocks of 1,000 tokens."""
    return chain(*range(topic, topic + 8), block_tokens=1000)


def fleet_with_tiers(*, remote_tokens: int | None = None, **tiers: HostTier | None) -> Fleet:
    """Replicas that hold one prompt each, what is behind them, and a remote tier that all of them reach."""
    fleet = fleet_of(*tiers)
    for name, tier in tiers.items():
        fleet.apply(CapacityReported(0.0, name, TOKENS))
        fleet.apply(HostTierReported(0.0, name, tier))
        fleet.apply(RemoteTierReported(0.0, name, remote_tokens))
    return fleet


def candidates(fleet: Fleet, asked: Chain, at_s: float = 1000.0, model: str = "") -> dict[str, Candidate]:
    options = [Option(name, "pool") for name in fleet.replicas]
    return {each.name: each for each in assess(fleet, asked, options, at_s, model)}


def serve(
    fleet: Fleet,
    name: str,
    asked: Chain,
    at_s: float = 0.0,
    *,
    ttft_s: float | None = None,
    cached_tokens: int | None = None,
) -> Routed:
    """A request as the gateway sends it, and its answer a second after its first token."""
    there = candidates(fleet, asked, at_s)[name]
    sent = Routed(
        at_s,
        f"{name} at {at_s}",
        "",
        name,
        asked,
        there.uncached_tokens(asked.prompt_tokens),
        timed=ttft_s is not None,
        behind=there.behind,
        restored_tokens=there.restored_tokens,
        restore_s=there.restore_s,
    )
    fleet.apply(sent)
    if ttft_s is not None:
        fleet.apply(FirstToken(at_s + ttft_s, sent.ticket))
    usage = Usage(asked.prompt_tokens, 0, cached_tokens)
    fleet.apply(served(sent.ticket, name, at_s=at_s + (ttft_s or 0.0) + 1.0, usage=usage))
    return sent


def decide(*fleet: Candidate) -> Ranking:
    return PrefixKvAware().rank(Demand(TOKENS), fleet)

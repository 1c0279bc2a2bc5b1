"""Fleet state and a prompt -> candidates: what each replica that may serve would have to do for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from extproc.fleet.state import Fleet
from extproc.prefix import Chain
from extproc.routing.ranking import Candidate

_LIFETIME_MARGIN = 4.0
"""How much shorter than lately the time may get for which a cache keeps what is idle: load comes in waves."""


class Option(NamedTuple):
    """A replica as the configuration offers it for a model.

    Args:
        pool: the Envoy cluster.
        price: US dollars for 1,000 prompt tokens.
    """

    name: str
    pool: str
    weight: float = 1.0
    price: float = 0.0


def assess(fleet: Fleet, chain: Chain, options: Iterable[Option], now_s: float, model: str = "") -> list[Candidate]:
    """Replicas that may serve, in the order given; those that are not proven only if there is nobody else.

    Args:
        model: as the configuration names it; speeds are known by model.
    """
    index = fleet.index
    lookup = index.look_up(chain)
    lasting: dict[int, float] = {}  # by tokens matched
    ready: list[Candidate] = []
    aside: list[Candidate] = []
    for name, pool, weight, price in options:
        state = fleet.replicas.get(name)
        if state is None or state.draining:
            continue
        matched_tokens = lookup.tokens.get(name, 0)
        if matched_tokens not in lasting:
            lasting[matched_tokens] = lookup.lasting_tokens(matched_tokens, chain.prompt_tokens)
        speed = fleet.speed(state, model)
        candidate = Candidate(
            name,
            pool,
            weight,
            price,
            state.busy(now_s),
            state.turn,
            state.latency_s,
            matched_tokens,
            index.tokens(name),
            lasting[matched_tokens],
            index.reuse.chance(index.lifetime_s(name, now_s) / _LIFETIME_MARGIN),
            state.wait_s(now_s) + state.memory_wait_s(chain.prompt_tokens - matched_tokens, index.claimed_tokens(name)),
            speed.tokens_per_s,
            speed.base_s,
            state.arrivals.per_s(now_s),
            state.work.per_s(now_s),
        )
        (ready if state.proven else aside).append(candidate)
    return ready or aside

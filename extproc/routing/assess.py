"""Fleet state and a prompt -> candidates: what each replica that may serve would have to do for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from extproc.fleet.state import Fleet
from extproc.fleet.tiers import Behind
from extproc.prefix import Chain
from extproc.prefix.exact import ExactPrompt
from extproc.routing.behind import LIFETIME_MARGIN, Backing, Lasting
from extproc.routing.ranking import Candidate


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


def assess(
    fleet: Fleet,
    chain: Chain,
    options: Iterable[Option],
    now_s: float,
    model: str = "",
    prompt: ExactPrompt | None = None,
) -> list[Candidate]:
    """Replicas that may serve, in the order given; those that are not proven only if there is nobody else.

    Args:
        model: as the configuration names it; speeds are known by model.
        prompt: its tokens, where they are known.
    """
    index = fleet.index
    tiers_of = index.behind.get
    lookup = fleet.look_up(chain, prompt)
    lasting = Lasting(lookup, chain.prompt_tokens)
    backing = Backing(fleet, lookup, lasting, model, now_s)
    ready: list[Candidate] = []
    aside: list[Candidate] = []
    for name, pool, weight, price in options:
        state = fleet.replicas.get(name)
        if state is None or state.draining:
            continue
        matched_tokens = lookup.tokens.get(name, 0)
        lasting_tokens = lasting[matched_tokens]
        speed = fleet.speed(state, model)
        lifetime_s = index.lifetime_s(name, now_s) / LIFETIME_MARGIN
        memory_s = state.memory_wait_s(chain.prompt_tokens - matched_tokens, index.claimed_tokens(name))
        behind: tuple[Behind, ...] = ()
        if tiers := tiers_of(name):
            lasting_tokens, behind = backing.of(state, tiers, matched_tokens, speed.tokens_per_s, lifetime_s)
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
            lasting_tokens,
            index.reuse.chance(lifetime_s),
            state.wait_s(now_s, memory_s),
            speed.tokens_per_s,
            speed.base_s,
            state.arrivals.per_s(now_s),
            state.work.per_s(now_s),
            behind,
        )
        (ready if state.proven else aside).append(candidate)
    return ready or aside

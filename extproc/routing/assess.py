"""Fleet state and a prompt -> candidates: what each replica that may serve would have to do for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from extproc.fleet.lookup import Lookup
from extproc.fleet.state import Fleet
from extproc.prefix import Chain
from extproc.prefix.exact import ExactPrompt
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
    lookup = fleet.look_up(chain, prompt)
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
        lifetime_s = index.lifetime_s(name, now_s) / _LIFETIME_MARGIN
        eviction_chance = index.reuse.chance(lifetime_s)
        memory_s = state.memory_wait_s(chain.prompt_tokens - matched_tokens, index.claimed_tokens(name))
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
            eviction_chance,
            state.wait_s(now_s, memory_s),
            speed.tokens_per_s,
            speed.base_s,
            state.arrivals.per_s(now_s),
            state.work.per_s(now_s),
        )
        if state.host_tier is not None:
            kept_s = index.tier_lifetime_s(name, now_s) / _LIFETIME_MARGIN
            later_chance = index.reuse.chance(kept_s) if kept_s > lifetime_s else eviction_chance
            rate = fleet.restore_rate(state, model).tokens_per_s
            candidate = _with_tier(candidate, lookup, chain.prompt_tokens, rate, later_chance)
        (ready if state.proven else aside).append(candidate)
    return ready or aside


def _with_tier(
    candidate: Candidate, lookup: Lookup, prompt_tokens: int, restore_tokens_per_s: float, later_chance: float
) -> Candidate:
    """The same with what is behind it.

    Args:
        later_chance: probability that what the tier evicts is used again.
    """
    behind = candidate._replace(
        restorable_tokens=max(0, lookup.behind.get(candidate.name, 0) - candidate.matched_tokens),
        restore_tokens_per_s=restore_tokens_per_s,
        retrieval_chance=_used_before(candidate.eviction_chance, later_chance),
    )
    if not behind.restored_tokens:
        return behind
    kept = candidate.lasting_tokens
    computed = min(kept, lookup.lasting_tokens(behind.reused_tokens, prompt_tokens))
    return behind._replace(lasting_tokens=computed, restored_lasting_tokens=kept - computed)


def _used_before(chance: float, later_chance: float) -> float:
    """Probability that what is idle is used again before it has been so for a longer time.

    Args:
        chance: that it is used again at all.
        later_chance: the same of what has been idle for the longer time.

    Of a share s that gets there, later_chance is used: 1 - chance = s * (1 - later_chance).
    """
    if later_chance >= chance:
        return 0.0
    reaching = (1 - chance) / (1 - later_chance)
    return chance - reaching * later_chance

"""Fleet state and a prompt -> candidates: what each replica that may serve would have to do for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from extproc.fleet.lookup import Lookup
from extproc.fleet.reuse import Reuse
from extproc.fleet.state import Fleet
from extproc.fleet.tiers import Behind, Tier
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
    behind = index.behind
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
        if tiers := behind.get(name):
            rates = [fleet.restore_rate(state, model, tier.kind).tokens_per_s for tier in tiers]
            chances = _retrieval_chances(tiers, index.reuse, lifetime_s, now_s)
            candidate = _backed(
                candidate, _found(candidate, tiers, lookup, rates, chances), lookup, chain.prompt_tokens
            )
        (ready if state.proven else aside).append(candidate)
    return ready or aside


def _found(
    candidate: Candidate, tiers: Iterable[Tier], lookup: Lookup, rates: Iterable[float], chances: Iterable[float]
) -> list[Behind]:
    """The tiers behind a candidate as the prompt finds them: each counts for what those in front of it do not have."""
    found = []
    reach = candidate.matched_tokens
    for tier, rate, chance in zip(tiers, rates, chances, strict=True):
        held = lookup.behind.get(tier.kind, {}).get(candidate.name, 0)
        found.append(Behind(tier.kind, max(0, held - reach), rate, 0.0, chance))
        reach = max(reach, held)
    return found


def _backed(candidate: Candidate, found: list[Behind], lookup: Lookup, prompt_tokens: int) -> Candidate:
    """The candidate with these behind it. What it restores of the lasting tokens, it need not compute."""
    reach, lasting = candidate.matched_tokens, candidate.lasting_tokens
    for place, tier in enumerate(candidate._replace(behind=tuple(found)).restoring):
        if tier.tokens:
            reach += tier.tokens
            left = min(lasting, lookup.lasting_tokens(reach, prompt_tokens))
            found[place] = tier._replace(lasting_tokens=lasting - left)
            lasting = left
    return candidate._replace(behind=tuple(found), lasting_tokens=lasting)


def _retrieval_chances(tiers: Iterable[Tier], reuse: Reuse, lifetime_s: float, now_s: float) -> list[float]:
    """For each tier, the probability that what a replica evicts is used again while the tier has it, but none nearer.

    Args:
        lifetime_s: for how long the replica itself keeps what is idle, with the margin.
    """
    chance, retrieved = reuse.chance(lifetime_s), 0.0
    chances = []
    for tier in tiers:
        kept_s = tier.lifetime_s(now_s) / _LIFETIME_MARGIN
        used = 0.0
        if kept_s > lifetime_s:
            lifetime_s = kept_s
            used = max(0.0, _used_before(chance, reuse.chance(kept_s)) - retrieved)
        chances.append(used)
        retrieved += used
    return chances


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

"""What an answer teaches: what its replica and the tiers behind it had cached, how fast they are, and what its model
makes of a prompt.

The engine counts in its own tokens, the gateway in estimates. A count of cached tokens is therefore taken as a share of
the prompt: cached = estimate * usage.cached_tokens / usage.prompt_tokens. It counts what it restored as cached, too. So
with tiers, fewer than believed may be there trim each that was believed to hold more, the replica's own cache among
them, and more than believed say that the farthest tier is larger: of those in front of it they say nothing.

A time to the first token has parts none of which can be seen alone. Where hardly anything was restored, it teaches the
prefill speed, less the time that restoring should have taken; where at least as much was restored from one tier as was
computed and restored otherwise, it teaches the restore rate of that tier; in between, nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from extproc.config.topology import TierKind
from extproc.fleet.blocks import Claim
from extproc.fleet.events import Finished, Routed
from extproc.fleet.index import CacheIndex
from extproc.fleet.outcome import Outcome, tolerance_tokens
from extproc.fleet.replica import ReplicaState
from extproc.fleet.restore import PRIOR_TOKENS_PER_S, RestoreRate
from extproc.fleet.speed import Speed
from extproc.prefix import UNCORRECTED, Correction

_MAX_MODELS = 256
_HARDLY = 0.25
"""Restored tokens, as a share of the work tokens, with which a first token still teaches the prefill speed."""


@dataclass(slots=True)
class Outstanding:
    """A request that was routed and has not ended.

    Args:
        state: of the first choice; None if that was unknown.
        ahead_tokens: work that stood before it when it was routed.
        ttft_s: None until its first token was seen.
        claim: on the blocks of its first choice; None if its tokens are not known.
    """

    routed: Routed
    state: ReplicaState | None
    ahead_tokens: float = 0.0
    ttft_s: float | None = None
    claim: Claim | None = None


class Lessons:
    """Learns into index, replica states and corrections.

    Args:
        faults: where answers that cannot be true are counted.

    Attributes:
        latency_ewma_alpha: how much the latest request counts in a replica's mean latency, 0 to 1.
    """

    def __init__(self, index: CacheIndex, faults: Counter[str]) -> None:
        self._index = index
        self.latency_ewma_alpha = 0.3
        self._faults = faults
        self._usual_speeds: dict[str, Speed] = {}  # by model, of all replicas together
        self._usual_rates: dict[tuple[TierKind, str], RestoreRate] = {}  # likewise, for each kind of tier
        self._corrections: OrderedDict[str, Correction] = OrderedDict()

    def correction(self, model: str) -> Correction:
        """What is known of a model's tokens."""
        return self._corrections.get(model, UNCORRECTED)

    def speed(self, replica: ReplicaState, model: str) -> Speed:
        """How fast a replica is with a model; as fast as the others, while nothing else is known."""
        return replica.speeds.get(model) or self._usual_speed(model)

    def restore_rate(self, replica: ReplicaState, model: str, kind: TierKind) -> RestoreRate:
        """How fast a replica restores from such a tier; as fast as the others, while nothing else is known."""
        return replica.restore_rates.get((kind, model)) or self._usual_rate(kind, model)

    def learn(self, request: Outstanding, end: Finished, server: ReplicaState) -> Outcome:
        """Takes in an answer that `server` gave."""
        routed, usage = request.routed, end.usage
        cached_tokens = self._cached_tokens(routed, end)
        trimmed = 0 if cached_tokens is None else self._correct_cache(server, routed, cached_tokens)
        self._store(server, routed, end)
        latency_s = max(0.0, end.at_s - routed.at_s)
        server.took(latency_s, usage.completion_tokens, self.latency_ewma_alpha)
        if request.ttft_s is not None and request.state is server:
            self._learn_times(server, request, cached_tokens)
        if routed.model and usage.prompt_tokens:
            self._correction_to_teach(routed.model).learn(routed.chain.content, usage.prompt_tokens)
        return Outcome(
            at_s=end.at_s,
            model=routed.model,
            replica=server.name,
            first_choice=server.name == routed.replica,
            prompt_tokens=routed.chain.prompt_tokens,
            predicted_tokens=routed.predicted_tokens,
            cached_tokens=cached_tokens,
            elsewhere_tokens=routed.elsewhere_tokens,
            predicted_ttft_s=routed.predicted_ttft_s,
            ttft_s=request.ttft_s,
            trimmed_tokens=trimmed,
            usage=usage,
            ticket=routed.ticket,
        )

    def _cached_tokens(self, routed: Routed, end: Finished) -> int | None:
        """As the gateway counts; None if the engine did not say, or said what cannot be."""
        prompt, cached = end.usage.prompt_tokens, end.usage.cached_tokens
        if cached is None or prompt is None:
            return None
        if prompt <= 0 or not 0 <= cached <= prompt:
            self._faults["impossible usage"] += 1
            return None
        return round(routed.chain.prompt_tokens * cached / prompt)

    def _correct_cache(self, server: ReplicaState, routed: Routed, cached_tokens: int) -> int:
        """Forgets what the engine had evicted, and learns how much it can hold. Returns the tokens forgotten."""
        chain, limit = routed.chain, cached_tokens + tolerance_tokens(routed.chain.prompt_tokens)
        trimmed = self._index.trim(server.name, chain, limit, routed.at_s)
        tiers = self._index.tiers(server.name)
        held = routed.matched_tokens + routed.restorable_tokens
        more = server.name == routed.replica and cached_tokens - held > limit - cached_tokens
        before = server.capacity.tokens
        if trimmed:
            server.capacity.too_high(self._index.tokens(server.name))
        elif more and not tiers:
            server.capacity.too_low()
        if server.capacity.tokens != before:
            self._index.set_capacity(server.name, server.capacity.tokens)
        for tier in tiers:
            tier_trimmed = self._index.trim_tier(server.name, chain, limit, routed.at_s, tier.kind)
            if tier_trimmed:
                tier.too_large()
            elif more and tier is tiers[-1]:
                tier.too_small()
            trimmed = max(trimmed, tier_trimmed)
        return trimmed

    def _store(self, server: ReplicaState, routed: Routed, end: Finished) -> None:
        """The replica holds the prompt now, and behind it what no block covers: the last words and the answer."""
        chain = routed.chain
        scale = chain.prompt_tokens / end.usage.prompt_tokens if end.usage.prompt_tokens else 1.0
        answer_tokens = (end.usage.completion_tokens or 0) * min(scale, 4.0)
        loose_tokens = max(0, chain.prompt_tokens - sum(chain.weights))
        self._index.store(server.name, chain, end.at_s, min(round(answer_tokens), 1 << 20) + loose_tokens)

    def _learn_times(self, server: ReplicaState, request: Outstanding, cached_tokens: int | None) -> None:
        routed = request.routed
        computed = routed.uncached_tokens if cached_tokens is None else routed.chain.prompt_tokens - cached_tokens
        work_tokens, ttft_s = request.ahead_tokens + computed, request.ttft_s or 0.0
        if routed.restorable_tokens:
            restored, confirmed = _restored(routed, cached_tokens)
            times_s = [
                tokens / self.restore_rate(server, routed.model, tier.kind).tokens_per_s
                for tier, tokens in zip(routed.behind, restored, strict=True)
            ]
            longest = max(range(len(times_s)), key=times_s.__getitem__)
            if confirmed and restored[longest] >= work_tokens + sum(restored) - restored[longest]:
                known_s = sum(times_s) - times_s[longest] + self.speed(server, routed.model).predict_s(work_tokens)
                name = routed.behind[longest].kind, routed.model
                self._learn_rate(server, name, restored[longest], ttft_s - known_s)
            if sum(restored) > _HARDLY * work_tokens:
                return
            ttft_s = max(ttft_s - sum(times_s), ttft_s / 2)
        self._learn_speed(server, routed, work_tokens, ttft_s)

    def _learn_speed(self, server: ReplicaState, routed: Routed, work_tokens: float, ttft_s: float) -> None:
        usual = self._usual_speed(routed.model)
        own = server.speeds.get(routed.model)
        if own is None:
            own = server.speeds[routed.model] = Speed(usual)
        if server.speed is usual:
            server.speed = own
        usual.learn(work_tokens, ttft_s)
        if not own.learn(work_tokens, ttft_s):
            self._faults["impossible time"] += 1

    def _learn_rate(
        self, server: ReplicaState, name: tuple[TierKind, str], restored_tokens: int, restore_s: float
    ) -> None:
        usual = self._usual_rate(*name)
        own = server.restore_rates.get(name)
        if own is None:
            own = server.restore_rates[name] = RestoreRate(usual.tokens_per_s)
        usual.learn(restored_tokens, restore_s)
        own.learn(restored_tokens, restore_s)

    def _usual_rate(self, kind: TierKind, model: str) -> RestoreRate:
        usual = self._usual_rates.get((kind, model))
        if usual is None:
            usual = self._usual_rates[kind, model] = RestoreRate(PRIOR_TOKENS_PER_S[kind])
        return usual

    def _usual_speed(self, model: str) -> Speed:
        usual = self._usual_speeds.get(model)
        if usual is None:
            usual = self._usual_speeds[model] = Speed()
        return usual

    def _correction_to_teach(self, model: str) -> Correction:
        correction = self._corrections.get(model)
        if correction is None:
            correction = self._corrections[model] = Correction()
            if len(self._corrections) > _MAX_MODELS:
                self._corrections.popitem(last=False)
        return correction


def _restored(routed: Routed, cached_tokens: int | None) -> tuple[list[int], bool]:
    """Tokens that were restored from each tier, and whether the engine's count says that all were as many as believed.

    The nearest tier was asked first: what the count falls short of was missing in the farthest.
    """
    if cached_tokens is None:
        return [tier.tokens for tier in routed.behind], False
    beyond = cached_tokens - routed.matched_tokens
    confirmed = beyond >= routed.restorable_tokens - tolerance_tokens(routed.chain.prompt_tokens)
    restored: list[int] = []
    for tier in routed.behind:
        restored.append(min(max(0, beyond), tier.tokens))
        beyond -= restored[-1]
    return restored, confirmed

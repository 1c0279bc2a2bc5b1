"""The facts that fleet state is folded from. Each is small, immutable and carries its own time.

Times are seconds of the emitting clock; they order events and measure spans, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from extproc.config.topology import HostTier
from extproc.fleet.kv_events import BlocksRemoved, BlocksStored, FeedReported
from extproc.fleet.tiers import Behind
from extproc.prefix import Chain
from extproc.prefix.exact import ExactPrompt


@dataclass(frozen=True, slots=True)
class ReplicaUp:
    """A replica is part of the fleet from now on.

    Args:
        proven: it is known to serve; until `ReplicaProven`, an unproven one is used only when there is nobody else.
    """

    at_s: float
    replica: str
    proven: bool = True


@dataclass(frozen=True, slots=True)
class ReplicaProven:
    """A replica that is new, or was set aside, has shown that it can serve."""

    at_s: float
    replica: str


@dataclass(frozen=True, slots=True)
class ReplicaDraining:
    """A replica finishes what it has and gets nothing new."""

    at_s: float
    replica: str


@dataclass(frozen=True, slots=True)
class ReplicaDown:
    """A replica is gone, and its cache with it."""

    at_s: float
    replica: str


@dataclass(frozen=True, slots=True)
class Routed:
    """A request was sent on its way.

    Args:
        ticket: names the request until it finishes; unique for the life of the process.
        request_id: `x-request-id`, the second way to recognise the request; clients may repeat one.
        replica: the first choice.
        uncached_tokens: prompt tokens that the first choice was expected to compute.
        behind: the tiers behind it, and what of the prompt each was believed to hold beyond what was in front of it.
        restored_tokens: of these, those that it was expected to restore.
        restore_s: how long that was expected to take.
        predicted_ttft_s: when its first token was expected, from now; None if the strategy did not say.
        elsewhere_tokens: prompt tokens that the warmest of the others was believed to hold.
        model: whose prompts teach us what a token is; empty: nothing is learned from this one.
        timed: a `FirstToken` will come, unless the request fails first.
        prompt: its tokens, as far as they are known; None: what it puts into caches is for the chain to say alone.
    """

    at_s: float
    ticket: str
    request_id: str
    replica: str
    chain: Chain
    uncached_tokens: int
    predicted_ttft_s: float | None = None
    elsewhere_tokens: int = 0
    model: str = ""
    timed: bool = False
    behind: tuple[Behind, ...] = ()
    restored_tokens: int = 0
    restore_s: float = 0.0
    prompt: ExactPrompt | None = None

    @property
    def matched_tokens(self) -> int:
        """Prompt tokens that the first choice was believed to hold itself."""
        return max(0, self.predicted_tokens - self.restored_tokens)

    @property
    def restorable_tokens(self) -> int:
        """Prompt tokens that the tiers behind it were believed to hold beyond what it held itself."""
        return sum(tier.tokens for tier in self.behind)

    @property
    def predicted_tokens(self) -> int:
        """Prompt tokens that the first choice was not expected to compute."""
        return max(0, self.chain.prompt_tokens - self.uncached_tokens)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first byte of a streamed answer was seen: its prefill is over."""

    at_s: float
    ticket: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A request ended, however it ended.

    Args:
        ticket: empty when the report does not carry it.
        served: the replica whose response reached the client; None if none did.
        status: HTTP status that the client saw; 0 if it left before one.
        attempts: upstream attempts that Envoy made.
        reached: a response came from upstream, so the replica computed at least the prefill.
    """

    at_s: float
    ticket: str
    request_id: str = ""
    served: str | None = None
    status: int = 0
    attempts: int = 1
    reached: bool = False
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Nothing was heard of requests routed before `routed_before_s`: they are counted out."""

    at_s: float
    routed_before_s: float


@dataclass(frozen=True, slots=True)
class CacheCleared:
    """A replica forgot everything it had cached."""

    at_s: float
    replica: str


@dataclass(frozen=True, slots=True)
class LoadReported:
    """An engine said how busy it is.

    Args:
        at_s: when it was asked; what it said is no older.
        running: requests in its batch.
        waiting: requests queued before their prefill.
        kv_usage: share of its KV blocks in use by requests, 0 to 1; 0 if it does not say.
    """

    at_s: float
    replica: str
    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class CapacityReported:
    """An engine said how large its KV cache is.

    Args:
        kv_tokens: None if it does not say, or no longer does.
        block_size: tokens in a KV block, likewise.
    """

    at_s: float
    replica: str
    kv_tokens: int | None
    block_size: int | None = None


@dataclass(frozen=True, slots=True)
class HostTierReported:
    """What is behind a replica's own cache.

    Args:
        tier: None if there is nothing, or no longer.
    """

    at_s: float
    replica: str
    tier: HostTier | None


@dataclass(frozen=True, slots=True)
class RemoteTierReported:
    """A replica reaches the store behind all host tiers.

    Args:
        tokens: that fit in it; None if the replica does not reach it, or no longer.
    """

    at_s: float
    replica: str
    tokens: int | None


Event = (
    ReplicaUp
    | ReplicaProven
    | ReplicaDraining
    | ReplicaDown
    | Routed
    | FirstToken
    | Finished
    | Lapsed
    | CacheCleared
    | LoadReported
    | CapacityReported
    | HostTierReported
    | RemoteTierReported
    | BlocksStored
    | BlocksRemoved
    | FeedReported
)

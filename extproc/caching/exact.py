"""The exact response cache, as the request path sees it: a stored answer, or the lead, or neither.

    match await cache.look_up(request, tenant, directives):
        case Hit(answer): ...                # reply with json_reply or sse_reply
        case Lead() as lead: ...             # go upstream; lead.feed(chunk) ..., lead.finish(), or how else it ended
        case Bypass(why): ...                # go upstream; nothing is kept

Faults of a store cost hits, never a request.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from extproc.api.requests import Endpoint, InferenceRequest
from extproc.clock import Clock

from .answer import Answer
from .collect import MAX_ANSWER_BYTES, Collector
from .directives import Directives
from .flight import Leader, SingleFlight
from .key import exact_key
from .lead import Lead, Lease, Shelf
from .policy import Mode, Verdict, Why, judge
from .store import AnswerStore, Claim, Found, Leases, StoreStats

_NO_DIRECTIVES = Directives()


async def _do_nothing(seconds: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """What is cached, and for how long.

    Args:
        mode: `deterministic` requests only, or `all`.
        wait_s: how long an equal request waits for the one that went upstream before it; also the longest time for
            which one instance keeps the others waiting.
        poll_s: how often an instance looks whether another one's answer has come.
    """

    mode: Mode = "deterministic"
    ttl_s: float = 3600.0
    max_answer_bytes: int = MAX_ANSWER_BYTES
    wait_s: float = 30.0
    poll_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer to give.

    Args:
        age_s: how old it is.
        waited: whether it came from an equal request that was under way.
    """

    answer: Answer
    age_s: float
    waited: bool = False


@dataclass(frozen=True, slots=True)
class Bypass:
    """Neither looked up nor to be stored."""

    why: Why


class _Patience:
    """How long one request may wait, and whom to tell of it before it begins to."""

    def __init__(self, clock: Clock, wait_s: float, tell: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._until_s = clock.now() + wait_s
        self._tell: Callable[[float], Awaitable[None]] | None = tell

    @property
    def left_s(self) -> float:
        return self._until_s - self._clock.now()

    async def begin(self) -> None:
        """Tells, the first time."""
        tell, self._tell = self._tell, None
        if tell is not None:
            await tell(self.left_s)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request on its way through the cache."""

    request: InferenceRequest
    scope: str
    key: bytes
    verdict: Verdict
    patience: _Patience


class ExactCache:
    """Equal requests get one answer.

    Args:
        leases: where instances share a store, so that one of all of them goes upstream.
        wall: Unix time in seconds, for the age of answers.
    """

    def __init__(
        self,
        store: AnswerStore,
        clock: Clock,
        settings: ExactSettings | None = None,
        *,
        leases: Leases | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings or ExactSettings()
        self._leases = leases
        self._wall = wall
        self._flights = SingleFlight(clock, longest_s=self._settings.wait_s)

    async def look_up(
        self,
        request: InferenceRequest,
        scope: str,
        directives: Directives = _NO_DIRECTIVES,
        *,
        before_waiting: Callable[[float], Awaitable[None]] = _do_nothing,
    ) -> Hit | Lead | Bypass:
        """What to do with a request; waits for an equal one that is under way.

        Args:
            scope: the tenant, or the scope that it shares answers with.
            before_waiting: is awaited before an equal request is waited for, with the longest time in seconds.
        """
        verdict = judge(request, directives, self._settings.mode)
        if verdict.why_not is not None:
            return Bypass(verdict.why_not)
        patience = _Patience(self._clock, self._settings.wait_s, before_waiting)
        ask = _Ask(request, scope, exact_key(request, scope), verdict, patience)
        if not verdict.use:
            return self._lead(ask, await self._store.get(ask.key, scope))
        # Joined before the store is asked, so that a hundred equal requests are one question to it, too.
        joined = self._flights.join(ask.key)
        if isinstance(joined, Leader):
            return await self._find_or_lead(ask, joined)
        try:
            await patience.begin()
            outcome = await joined.outcome(patience.left_s)
        except BaseException:
            joined.leave()
            raise
        if isinstance(outcome, Answer):
            hit = self._hit(ask, outcome, waited=True)
            return hit or await self._find_or_lead(ask, None)
        return await self._find_or_lead(ask, outcome, waited=True)

    async def flush(self, scope: str | None = None) -> None:
        """Forgets the answers of a scope, or all, on every instance that shares the store.

        Raises:
            StoreDown: the store cannot be asked; nothing is known to be forgotten.
        """
        await self._store.flush(scope)

    def stats(self) -> StoreStats:
        """What became of look-ups, and what is held."""
        return self._store.stats()

    async def _find_or_lead(self, ask: _Ask, leader: Leader | None, *, waited: bool = False) -> Hit | Lead:
        """The stored answer, or the lead. With no `leader` nobody waits for this request."""
        try:
            found = await self._store.get(ask.key, ask.scope)
            hit = self._hit(ask, found.answer, waited=waited) if found else None
            lease = None
            if hit is None and found is not None and leader is not None and self._leases is not None:
                lease = Lease(self._leases, ask.key, secrets.token_hex(8))
                claim = await self._claim(ask, lease, self._leases)
                found = claim.found if claim else found
                hit = self._hit(ask, found.answer, waited=True)
                if hit or not (claim and claim.won):
                    lease.release()  # also where whether it was granted is not known
                    lease = None
        except BaseException:
            if leader is not None:
                leader.failed()
            raise
        if hit is None:
            return self._lead(ask, found, leader, lease)
        if leader is not None:
            leader.landed(hit.answer)
        return hit

    async def _claim(self, ask: _Ask, lease: Lease, leases: Leases) -> Claim | None:
        """Waits for the lease or the answer; None when the store cannot be asked."""
        try:
            while True:
                claim = await leases.claim(ask.key, ask.scope, lease.token, self._settings.wait_s)
                if claim is None or claim.won or self._hit(ask, claim.found.answer):
                    return claim
                if ask.patience.left_s <= 0:
                    return claim
                await ask.patience.begin()
                await asyncio.sleep(self._settings.poll_s)
        except BaseException:
            lease.release()
            raise

    def _hit(self, ask: _Ask, answer: Answer | None, *, waited: bool = False) -> Hit | None:
        if answer is None or not ask.verdict.use:
            return None
        age_s = self._age_s(answer)
        longest_s = ask.verdict.max_age_s
        return Hit(answer, age_s, waited) if longest_s is None or age_s <= longest_s else None

    def _age_s(self, answer: Answer) -> float:
        return max(0.0, self._wall() - answer.created_s)

    def _lead(self, ask: _Ask, found: Found | None, leader: Leader | None = None, lease: Lease | None = None) -> Lead:
        settings = self._settings
        collector = Collector(
            ask.request.endpoint,
            ask.request.stream,
            choices=expected_choices(ask.request),
            max_answer_bytes=settings.max_answer_bytes,
        )
        shelf = Shelf(self._store, ask.key, ask.scope, settings.ttl_s, found.epoch if found else None)
        return Lead(collector, shelf, self._wall, leader, lease)


def expected_choices(request: InferenceRequest) -> int:
    """How many choices, or embeddings, a complete reply holds."""
    if request.endpoint is Endpoint.CHAT_COMPLETIONS:
        return request.n
    return request.n * (1 + len(request.batch))

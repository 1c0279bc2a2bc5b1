"""What all requests share: the configuration, the fleet, and the way that requests take."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from extproc.clock import Clock
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog
from extproc.gateway.decisions import Decisions
from extproc.gateway.exchange import Exchange
from extproc.gateway.pipeline import Pipeline
from extproc.gateway.sampler import Sampler
from extproc.prefix.client_uuids import ClientUuids
from extproc.tenants.ledger import Ledger


class Gateway:
    """Opens an exchange per HTTP request.

    Args:
        started_unix_s: what /v1/models reports as `created`.
        caches: whether any step may want to keep replies.
        observer: is told what becomes of requests.
        decisions: where the latest are kept.
        wall: Unix time in seconds.
        tells: whether the story of each request goes along to the access log.
    """

    def __init__(
        self,
        catalog: Catalog,
        fleet: Fleet,
        ledger: Ledger,
        pipeline: Pipeline,
        clock: Clock,
        first_token_sampler: Sampler,
        started_unix_s: int,
        *,
        caches: bool = False,
        observer: Observer | None = None,
        decisions: Decisions | None = None,
        wall: Callable[[], float] = time.time,
        tells: bool = False,
    ) -> None:
        self.catalog = catalog
        self.fleet = fleet
        self.ledger = ledger
        self.pipeline = pipeline
        self.clock = clock
        self.first_token_sampler = first_token_sampler
        self.started_unix_s = started_unix_s
        self.caches = caches
        self.observer = observer or Nobody()
        self.decisions = Decisions() if decisions is None else decisions  # an empty ring is falsy
        self.wall = wall
        self.tells = tells
        self.client_uuids = ClientUuids()
        self._run = secrets.token_hex(4)  # tickets of an earlier run of the processor mean nothing to this one
        self._exchanges = 0

    def open(self, say: Callable[[bytes], Awaitable[None]] | None = None) -> Exchange:
        """A new exchange, with a ticket of its own.

        Args:
            say: sends Envoy a message that is no answer.
        """
        return Exchange(self, self.ticket(), say)

    def ticket(self) -> str:
        """A name for an exchange."""
        self._exchanges += 1
        return f"{self._run}-{self._exchanges:x}"

    @property
    def ready(self) -> bool:
        """Whether any replica may be given work."""
        return any(state.proven and not state.draining for state in self.fleet.replicas.values())


class Observer(Protocol):
    """Whoever counts."""

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        """A request was sent on.

        Args:
            provider: of the first choice.
            upstream_model: the engine's name for the model.
        """
        ...

    def looked_up(self, outcome: str) -> None:
        """An answer given before was looked for: `exact_hit`, `semantic_hit`, `miss` or `bypass`."""
        ...

    def saved(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """An answer given before was given again, `exact` or `semantic`: no engine took so many tokens."""
        ...

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        """The first token of a stream came so long after it was sent on."""
        ...

    def refused(self, code: str, status: int, tenant: str) -> None:
        """The gateway answered with an error of its own."""
        ...


class Nobody:
    """An `Observer` that does not."""

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        pass

    def looked_up(self, outcome: str) -> None:
        pass

    def saved(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        pass

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        pass

    def refused(self, code: str, status: int, tenant: str) -> None:
        pass


class Observers:
    """Several of them, as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        for each in self._observers:
            each.decided(model, provider, upstream_model)

    def looked_up(self, outcome: str) -> None:
        for each in self._observers:
            each.looked_up(outcome)

    def saved(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        for each in self._observers:
            each.saved(cache, model, prompt_tokens, completion_tokens)

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        for each in self._observers:
            each.first_token(endpoint, provider, model, ttft_s)

    def refused(self, code: str, status: int, tenant: str) -> None:
        for each in self._observers:
            each.refused(code, status, tenant)

"""What all requests share: the configuration, the fleet, and the way that requests take."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from extproc.clock import Clock
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog
from extproc.gateway.exchange import Exchange
from extproc.gateway.sampler import Sampler
from extproc.gateway.steps import Fingerprint, Route, Step, Understand


class Gateway:
    """Opens an exchange per HTTP request.

    Args:
        started_unix_s: what /v1/models reports as `created`.
        decided: is told of every request that was sent on: model, provider of the first choice, the engine's name for
            the model.
    """

    def __init__(
        self,
        catalog: Catalog,
        fleet: Fleet,
        clock: Clock,
        first_token_sampler: Sampler,
        started_unix_s: int,
        decided: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.fleet = fleet
        self.clock = clock
        self.first_token_sampler = first_token_sampler
        self.started_unix_s = started_unix_s
        self.decided = decided or _nobody_listens
        self.steps: tuple[Step, ...] = (Understand(), Fingerprint(fleet), Route(fleet, clock))
        self._run = secrets.token_hex(4)  # tickets of an earlier run of the processor mean nothing to this one
        self._exchanges = 0

    def open(self) -> Exchange:
        """A new exchange, with a ticket of its own."""
        self._exchanges += 1
        return Exchange(self, ticket=f"{self._run}-{self._exchanges:x}")

    @property
    def ready(self) -> bool:
        """Whether any replica may be given work."""
        return any(state.proven and not state.draining for state in self.fleet.replicas.values())


def _nobody_listens(model: str, provider: str, upstream_model: str) -> None:
    pass

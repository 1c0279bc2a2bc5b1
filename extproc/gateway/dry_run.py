"""Where a request would go, without sending it: the steps of the request path that decide, and no others."""

from __future__ import annotations

import copy
from dataclasses import replace

from extproc.api import paths
from extproc.api.errors import BadRequest
from extproc.api.requests import Endpoint
from extproc.gateway.exchange import Exchange
from extproc.gateway.gateway import Gateway
from extproc.gateway.steps import Fingerprint, Route, Understand
from extproc.gateway.tokenise import Tokenise


class DryRun:
    """Asks a gateway what it would do now. It changes nothing: the strategy that answers is a copy."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        fleet = gateway.fleet
        self._steps = (Understand(), Fingerprint(fleet), Tokenise(fleet), Route(fleet, gateway.clock))

    async def __call__(self, path: str, body: bytes, session: str) -> Exchange:
        """The exchange as it would be when its request is sent on.

        Args:
            path: of a POST.
            session: what the session header would say.

        Raises:
            GatewayError: the request would be refused.
        """
        endpoint = paths.match("POST", path)
        if not isinstance(endpoint, Endpoint):
            raise BadRequest(f"{path[:200]} is not a path that is routed.")
        exchange = Exchange(self._gateway, ticket="")
        directory = exchange.directory
        exchange.directory = replace(directory, strategy=copy.deepcopy(directory.strategy))
        exchange.request_id = "dry run"
        exchange.endpoint, exchange.path, exchange.body, exchange.session = endpoint, path, body, session
        for step in self._steps:
            await step(exchange)
        return exchange

"""The request path in this process, as the processor builds it, up to the step that admits."""

from __future__ import annotations

from bench.policy.stage import INSTANT, PRICES
from extproc.api.requests import Endpoint
from extproc.assembly import Assembly
from extproc.clock import MonotonicClock
from extproc.config.build import build
from extproc.config.settings import Settings
from extproc.fleet.index import CacheIndex
from extproc.fleet.state import Fleet
from extproc.gateway.catalog import Catalog, Directory
from extproc.gateway.exchange import Exchange
from extproc.gateway.gateway import Gateway
from extproc.gateway.policies import Policies
from extproc.gateway.sampler import Sampler
from extproc.gateway.steps import Fingerprint, Understand
from extproc.routing import build_strategy

KEY = "sk-bench"
_PLENTY = 1_000_000


def local_gateway(redis_url: str | None) -> tuple[Gateway, Assembly]:
    """As the processor builds it, with every limit that there is on the key and on the tenant."""
    store = {"backend": "redis", "redis_url": redis_url} if redis_url else {}
    key = {"key": KEY, "tenant": "acme", "rpm": 60 * _PLENTY, "tpm": 1000 * _PLENTY, "budget_usd": _PLENTY}
    settings = Settings.model_validate(
        {
            "auth": {"enabled": True, "api_keys": [key]},
            "ratelimit": {**store, "default_rpm": 60 * _PLENTY, "burst": _PLENTY, "default_tpm": 1000 * _PLENTY},
            "budget": {**store, "enabled": True, "default_usd": _PLENTY},
            "cache": {"enabled": False},
            "providers": [{"name": "p", "base_url": "http://127.0.0.1:1"}],
            "models": [{"name": INSTANT, "deployments": [{"provider": "p", **PRICES}]}],
        }
    )
    clock, fleet = MonotonicClock(), Fleet(CacheIndex(1000))
    parts = Assembly.of(settings, fleet, clock)
    strategy = build_strategy(settings.routing)
    directory = Directory(build(settings), settings.routing, strategy, {}, Policies.of(settings))
    catalog, sampler = Catalog(directory), Sampler(0, clock)
    return Gateway(catalog, fleet, parts.ledger, parts.pipeline, clock, sampler, 0), parts


async def before_admission(gateway: Gateway, body: bytes) -> Exchange:
    """One that has come to the step."""
    exchange = gateway.open()
    exchange.endpoint, exchange.body = Endpoint.CHAT_COMPLETIONS, body
    exchange.caller = exchange.directory.policies.authenticate(f"Bearer {KEY}", "")
    for step in (Understand(), Fingerprint(gateway.fleet)):
        await step(exchange)
    return exchange
